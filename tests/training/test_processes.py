"""The processes of one command: who acts, who prints, and that no model outlives its process group."""

import gc

import pytest
import torch
from lightning_fabric.utilities import rank_zero_only
from torch.nn.parallel import DistributedDataParallel

from training.loops.processes import end_others, is_first, on_first, together

pytestmark = pytest.mark.torch


@pytest.fixture
def ending(monkeypatch):
    """A process group of one process; gives the number of models alive when it is destroyed."""
    alive = []
    destroy = torch.distributed.destroy_process_group

    def count():
        alive.append(sum(type(thing) is DistributedDataParallel for thing in gc.get_objects()))
        destroy()

    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", count)
    yield alive
    if torch.distributed.is_initialized():
        destroy()


def model():
    return DistributedDataParallel(torch.nn.Linear(2, 1))


def test_model_in_a_reference_cycle_is_gone_before_its_group(ending, request):
    request.addfinalizer(gc.enable)
    gc.disable()
    with together(1):
        cycle = [model()]
        cycle.append(cycle)
        del cycle
    assert ending == [0] and not torch.distributed.is_initialized()


def test_model_in_the_frames_of_an_error_is_gone_before_its_group(ending):
    def train():
        wrapped = model()
        raise ValueError(f"first, {wrapped.training}")

    def train_and_close():
        try:
            train()
        finally:
            raise OSError("second")

    with pytest.raises(OSError, match="second"), together(1):
        train_and_close()
    assert ending == [0]


def test_groups_of_others_are_left_to_the_end_of_a_failed_process(ending, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "nccl")
    with pytest.raises(ValueError), together(1):
        raise ValueError
    assert ending == []


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_failure_of_the_first_process_is_told_to_the_others_and_raised(ending, monkeypatch, error):
    told = []
    send = torch.distributed.broadcast_object_list
    monkeypatch.setattr(
        torch.distributed, "broadcast_object_list", lambda x, src: (told.extend(x), send(x, src=src))
    )

    def action():
        raise error

    with pytest.raises(type(error)) as raised:
        on_first(action)
    assert raised.value is error and told == [True]


def test_process_that_is_not_the_first_ends_quietly_with_it(ending, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    acted = []
    on_first(lambda: acted.append(1))
    assert not is_first() and acted == []

    def fail(answer, src):
        answer[0] = True

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", fail)
    with pytest.raises(SystemExit) as ended:
        on_first(lambda: acted.append(1))
    assert ended.value.code == 0 and acted == []


def test_process_that_trains_alone_acts_and_prints_whatever_its_rank(monkeypatch, capsys):
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # one of several that a cluster started
    with together(1):
        on_first(lambda: print("acted"))
        end_others()
    assert capsys.readouterr().out == "acted\n"
    with together(2):
        print("not the first")
    assert capsys.readouterr().out == ""

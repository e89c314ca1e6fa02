"""A short, seeded run of every fuzz target; `make fuzz` runs them longer, guided by coverage."""

import contextlib
import random

import pytest

from tests.fuzz import seeds
from tests.fuzz.execute import Finding, execute
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import SEPARATOR, TARGETS, Target
from utils.errors import DataError

SLOW = {"keras_weights": 3, "mat": 6, "hdf5": 6, "npz": 6}  # a model or a process each time
RUNS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_finds_nothing(name, tmp_path):
    target, inputs, rng = TARGETS[name], seeds(name), random.Random(name)
    folder = tmp_path / "inputs"
    for data in inputs[:1]:
        with contextlib.suppress(Finding):  # the memory of what is imported now is not the reader's
            execute(target, data, folder)
    accepted = [execute(target, data, folder) for data in inputs]
    assert any(accepted), "no seed is read"
    for _ in range(SLOW.get(name, RUNS)):
        data = mutate(rng.choice(inputs), inputs, rng)
        try:
            execute(target, data, folder)
        except (Finding, AssertionError) as error:
            (tmp_path / "input").write_bytes(data)
            raise AssertionError(f"{error}; the input is {tmp_path / 'input'}") from error


def outside(path):
    return (path.parent.parent / "secret").read_bytes()


def crash(path):
    return 1 // 0


def refuse(path):
    raise DataError("bad file")


def shout(path):
    raise DataError(f"{path}: {'x' * 5000}")


def allocate(path):
    return len(bytearray(200 * 2**20))


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (outside, "file outside of the folder"),
        (crash, "ZeroDivisionError in tests/test_fuzz.py:crash"),
        (refuse, "message without the file"),
        (shout, "long message"),
        (allocate, "memory"),
    ],
)
def test_fuzz_notices(tmp_path, read, kind):
    (tmp_path / "secret").write_text("")
    with pytest.raises(Finding) as caught:
        execute(Target("toy", ("record.txt",), read), b"", tmp_path / "inputs")
    assert caught.value.kind == kind


def test_fuzz_knows_a_wrong_lead(tmp_path):
    """Leads that are named in another order than they are read must not pass."""
    header, samples = seeds("wfdb")[0].split(SEPARATOR)
    swapped = header.replace(b" I\n", b" ?\n").replace(b" II\n", b" I\n").replace(b" ?\n", b" II\n")
    target = TARGETS["wfdb"]
    path = target.unpack(header + SEPARATOR + samples, tmp_path)
    recording = target.read(path)
    assert target.check(header + SEPARATOR + samples, recording) == recording.signal.size
    with pytest.raises(AssertionError, match="another signal in I"):
        target.check(swapped + SEPARATOR + samples, recording)

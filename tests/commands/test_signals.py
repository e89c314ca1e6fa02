"""Ctrl-C and kill -9 for the real training scripts: what is left loads, and resuming changes nothing."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

import torch_train
import train
from tests.helpers.training_files import (
    ROOT,
    call,
    flags,
    last_state,
    metrics_rows,
    same_arrays,
    small_database,
)
from training import load_predictor
from training.checkpoint import load_state

MAINS = {"train.py": train.main, "torch_train.py": torch_train.main}
# random numbers in every batch; small batches, so that an epoch is long enough to be hit inside
OPTIONS = ["--noise", 0.1, "--mixup", 0.3, "--batchsize", 4, "--patience", 100_000]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def started(script, *words):
    """Start a training that would last for ever."""
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, script, *words, "--epochs", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, **pipes)


def wait_for_an_epoch(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch"):
            return
    raise AssertionError("".join(lines) + process.stderr.read())


def wait_for_a_file(process, path):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)


def check_it_resumes_as_if_never_stopped(script, words, out, run):
    """Finish the epoch that was interrupted, and compare with a run of as many epochs in one go."""
    epochs = load_state(out / "checkpoints" / run)[1]["epoch"] + 1
    main = MAINS[script]
    call(main, script, *words, "--run", run, "--epochs", epochs, "--resume")
    call(main, script, *words, "--run", "whole", "--epochs", epochs)
    state = last_state(out, run)
    assert any(key.startswith("optimizer/") for key in state)
    assert same_arrays(state, last_state(out, "whole"))
    rows = metrics_rows(out, run)
    assert [row["epoch"] for row in rows] == [str(e + 1) for e in range(epochs)]
    assert rows == metrics_rows(out, "whole")


@pytest.mark.parametrize(
    ("script", "model"),
    [
        pytest.param("train.py", "mousavi", marks=pytest.mark.tf),
        pytest.param("torch_train.py", "ecgnet", marks=pytest.mark.torch),
    ],
)
def test_interruption_saves_and_says_how_to_resume(script, model, database, tmp_path):
    words = flags(model, database, tmp_path, *OPTIONS)
    process = started(script, *words, "--run", "long")
    wait_for_an_epoch(process)
    time.sleep(0.05)  # into the second epoch
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert "stopping after this batch" in err and "Traceback" not in err
    progress = load_state(tmp_path / "checkpoints" / "long")[1]
    place = f"epoch {progress['epoch'] + 1}"
    if progress["batch"]:
        place += f", batch {progress['batch']}"
    assert progress["epoch"] >= 1 and f"interrupted at {place}" in out
    (line,) = [line for line in out.splitlines() if line.startswith("resume with: ")]
    expected = ["python", script, *words, "--run", "long", "--epochs", "100000", "--resume"]
    assert shlex.split(line.removeprefix("resume with: ")) == expected
    check_it_resumes_as_if_never_stopped(script, words, tmp_path, "long")


@pytest.mark.parametrize(
    ("script", "model", "moments"),
    [  # in the first epoch, before there is a best one; seconds after an epoch: in a saving, and somewhere
        pytest.param("train.py", "mousavi", ["first state", 0.0, 0.137], marks=pytest.mark.tf),
        pytest.param("torch_train.py", "ecgnet", [0.137], marks=pytest.mark.torch),
    ],
)
def test_kill_9_at_any_moment_loses_nothing_that_was_saved(script, model, moments, database, tmp_path):
    words = flags(model, database, tmp_path, *OPTIONS)
    folder = tmp_path / "checkpoints" / "killed"
    for count, moment in enumerate(moments):
        process = started(script, *words, "--run", "killed", *(["--resume"] if count else []))
        if moment == "first state":
            wait_for_a_file(process, folder / "last" / "state.safetensors")
        else:
            wait_for_an_epoch(process)
            time.sleep(moment)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        state, progress = load_state(folder)
        assert state and progress["epoch"] >= (0 if moment == "first state" else 1)
        if moment != "first state":
            assert load_predictor("killed", tmp_path).classes[0] == "CD"
    (folder / ".partial-left-weights").write_text("half")
    check_it_resumes_as_if_never_stopped(script, words, tmp_path, "killed")
    assert not list(tmp_path.rglob(".partial-*"))

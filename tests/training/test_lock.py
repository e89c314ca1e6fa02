"""The lock of a run: one process at a time writes it, and a killed one is in nobody's way."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.training_files import ROOT, flags, metrics_rows, small_database
from training.lock import RunLock, locked
from utils.errors import UsageError

HOLD = """
import sys
from pathlib import Path
from training.lock import RunLock
lock = RunLock(Path(sys.argv[1]), Path(sys.argv[2]))
lock.acquire("run 'a'", shared=sys.argv[3] == "shared")
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def hold(tmp_path):
    """Starts processes that hold the lock of ``checkpoints/a`` until their input ends."""
    processes = []

    def start(kind):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "checkpoints" / "a"), str(tmp_path), kind]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def lock_of(tmp_path):
    return RunLock(tmp_path / "checkpoints" / "a", tmp_path)


def test_lock_of_another_process_names_host_and_process(tmp_path, hold):
    process = hold("alone")
    text = f"run 'b' is in use by process {process.pid} on {platform.node()}: wait for it"
    for shared in (False, True):
        with pytest.raises(UsageError, match=text):
            lock_of(tmp_path).acquire("run 'b'", shared)
    assert json.loads((tmp_path / "checkpoints" / ".a.lock").read_text())["pid"] == process.pid
    process.communicate("")
    assert list(tmp_path.iterdir()) == []  # no trace
    with locked(tmp_path / "checkpoints" / "a", tmp_path, "run 'b'"):
        assert (tmp_path / "checkpoints" / ".a.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_killed_process_is_taken_over(tmp_path, hold):
    process = hold("alone")
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = lock_of(tmp_path)
    lock.acquire("run 'a'")
    assert json.loads(lock.path.read_text()) == {"host": platform.node(), "pid": os.getpid()}
    lock.release()


def test_lock_that_is_shared_keeps_out_who_wants_it_alone(tmp_path, hold):
    first, second = hold("shared"), hold("shared")
    first.communicate("")
    with pytest.raises(UsageError, match=f"in use by process {second.pid} "):
        lock_of(tmp_path).acquire("run 'a'")
    second.communicate("")
    with locked(tmp_path / "checkpoints" / "a", tmp_path, "run 'a'"):
        pass


def test_lock_on_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    lock = lock_of(tmp_path)
    lock.acquire("run 'a'")
    lock.release()
    assert "note: this file system has no locks" in caplog.text


def test_lock_is_held_by_the_first_of_several_processes(tmp_path, hold, monkeypatch):
    hold("alone")
    monkeypatch.setenv("LOCAL_RANK", "1")
    lock_of(tmp_path).acquire("run 'a'")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(
        tmp_path_factory.mktemp("ptbxl"), codes=[{"NORM": 100.0, "SR": 0.0}, {"IMI": 100.0, "AFIB": 0.0}]
    )


CHAIN = [
    *["--model", "protoecgnet", "--branch", "rhythm", "--width", 2, "--proto_dim", 4, "--threads", 1],
    *["--single_class_prototype_per_class", 2, "--classifier_epochs", 1, "--batchsize", 16],
]


@pytest.mark.torch
@pytest.mark.parametrize("model", ["ecgnet", "protoecgnet"])
def test_lock_refuses_a_second_command_on_a_run_until_the_first_is_killed(database, tmp_path, model):
    if model == "ecgnet":
        words = flags(model, database, tmp_path, "--run", "a")
        state = tmp_path / "checkpoints" / "a" / "last" / "state.safetensors"
    else:
        words = [*map(str, CHAIN), "--data_dir", str(database), "--output_dir", str(tmp_path), "--run", "a"]
        state = tmp_path / "checkpoints" / "a" / "rhythm" / "joint" / "last" / "state.safetensors"
    command = [sys.executable, "torch_train.py", *words]
    endless = ["--epochs", "100000", "--patience", "100000"]
    with open(tmp_path / "log", "w") as log:
        first = subprocess.Popen([*command, *endless], cwd=ROOT, stdout=log, stderr=log)
    try:
        while not state.exists():  # the timeout of a test ends this
            assert first.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        more = ["--epochs", "1", "--overwrite"]
        second = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 2 and "Traceback" not in second.stderr
        assert f"is in use by process {first.pid} on {platform.node()}" in second.stderr
        assert first.poll() is None and state.exists()
    finally:
        first.kill()
        first.wait()
    third = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr
    name = "a" if model == "ecgnet" else "a/rhythm/joint"
    assert len(metrics_rows(tmp_path, name)) == 1
    assert not list(tmp_path.rglob("*.lock"))

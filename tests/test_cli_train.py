"""The training scripts as a person meets them: help, wrong words, Ctrl-C, kill -9, several processes."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

import torch_train
from tests.training_files import ROOT, call, flags, metrics_rows, small_database
from training import load_predictor
from training.checkpoint import load_state
from utils.errors import run_cli


def environment():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def script(name, *words):
    return subprocess.run(
        [sys.executable, name, *map(str, words)], cwd=ROOT, env=environment(), capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def started(*words):
    """Start a long training and wait until its first epoch is done."""
    process = subprocess.Popen(
        [sys.executable, "torch_train.py", *map(str, words)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch"):
            return process
    raise AssertionError("".join(lines) + process.stderr.read())


@pytest.mark.parametrize("name", ["train.py", "torch_train.py", "inference.py"])
def test_help(name):  # the other two: test_cli_test.py
    done = script(name, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "--model" in done.stdout and "--output_dir" in done.stdout
    assert name in done.stdout and "default" in done.stdout


def test_ctrl_c_saves_and_says_how_to_go_on(database, tmp_path):
    words = flags("ecgnet", database, tmp_path, "--epochs", 100_000, "--patience", 100_000, "--run", "long")
    process = started(*words)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert "stopping after this batch" in err and "Traceback" not in err
    (line,) = [line for line in out.splitlines() if line.startswith("go on with: ")]
    assert shlex.split(line.removeprefix("go on with: ")) == ["python", "torch_train.py", *words, "--resume"]
    done = load_state(tmp_path / "checkpoints" / "long")[1]["epoch"]
    assert done >= 1 and f"interrupted at epoch {done + 1}" in out
    call(torch_train.main, "torch_train.py", *words, "--resume", "--epochs", done + 1)
    assert [row["epoch"] for row in metrics_rows(tmp_path, "long")] == [str(e + 1) for e in range(done + 1)]


def test_kill_9_leaves_best_and_last(database, tmp_path):
    words = flags("ecgnet", database, tmp_path, "--epochs", 100_000, "--patience", 100_000)
    process = started(*words)
    time.sleep(0.137)  # somewhere in the middle of epochs and savings
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert load_predictor("ecgnet", tmp_path).classes[0] == "CD"
    done = load_state(tmp_path / "checkpoints" / "ecgnet")[1]["epoch"]
    (tmp_path / "checkpoints" / "ecgnet" / ".partial-left-model.safetensors").write_text("half")
    call(torch_train.main, "torch_train.py", *words, "--resume", "--epochs", done + 1)
    assert not list(tmp_path.rglob(".partial-*"))
    assert [row["epoch"] for row in metrics_rows(tmp_path, "ecgnet")] == [str(e + 1) for e in range(done + 1)]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model", "ecgnett"], 2, "error: unknown model 'ecgnett': did you mean 'ecgnet'?"),
        (["--bachsize", "3"], 2, "unknown argument '--bachsize': did you mean '--batchsize'?"),
        (["--data_dir", "nothing"], 1, "error: PTB-XL folder nothing does not exist"),
    ],
)
def test_wrong_words_end_with_a_code_and_without_traceback(tmp_path, capsys, words, code, message):
    with pytest.raises(SystemExit) as ended:
        call(lambda: run_cli(torch_train.main), "torch_train.py", "--output_dir", tmp_path, *words)
    text = capsys.readouterr().err
    assert ended.value.code == code
    assert message in text and "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_two_processes_share_the_batches_and_end_together(database, tmp_path):
    words = flags("ecgnet", database, tmp_path, "--epochs", 2, "--devices", 2, "--batchsize", 79)
    done = script("torch_train.py", *words)  # the last batch, of one record, is too small to be shared
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("best: epoch") == 1
    assert [row["epoch"] for row in metrics_rows(tmp_path, "ecgnet")] == ["1", "2"]
    assert load_predictor("ecgnet", tmp_path).classes[0] == "CD"

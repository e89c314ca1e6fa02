"""The training scripts as a person meets them: help, wrong words, several processes."""

import os
import subprocess
import sys

import pytest

import torch_train
from tests.helpers.training_files import ROOT, call, flags, metrics_rows, small_database
from training import load_predictor
from utils.errors import run_cli


def environment():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def script(name, *words):
    command = [sys.executable, name, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


@pytest.mark.parametrize("name", ["train.py", "torch_train.py", "inference.py"])
def test_help(name):  # of the other two: test_test.py
    done = script(name, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "--model" in done.stdout and "--output_dir" in done.stdout
    assert name in done.stdout and "default" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model", "ecgnett"], 2, "error: unknown model 'ecgnett': did you mean 'ecgnet'?"),
        (["--bachsize", "3"], 2, "unknown argument '--bachsize': did you mean '--batchsize'?"),
        (["--data_dir", "nothing"], 1, "error: PTB-XL folder nothing does not exist"),
    ],
)
def test_train_wrong_words_end_with_a_code_and_without_traceback(tmp_path, capsys, words, code, message):
    with pytest.raises(SystemExit) as ended:
        call(lambda: run_cli(torch_train.main), "torch_train.py", "--output_dir", tmp_path, *words)
    text = capsys.readouterr().err
    assert ended.value.code == code
    assert message in text and "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


# torch_train.py, and a word on what the process group finds when it ends
WATCHED = f"""
import gc, os, sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from torch.nn.parallel import DistributedDataParallel
import torch_train
from utils.errors import run_cli

def end(destroy=torch.distributed.destroy_process_group):
    models = sum(type(thing) is DistributedDataParallel for thing in gc.get_objects())
    print(f"process {{os.environ['LOCAL_RANK']}} leaves, {{models}} models", file=sys.stderr, flush=True)
    destroy()

torch.distributed.destroy_process_group = end
run_cli(torch_train.main)
"""


def train_watched(folder, *words):
    """Train on two processes, both of which have to leave without a model.

    One left alive would hold the process group and, now and then, never let its process end.
    """
    (folder / "watched.py").write_text(WATCHED)
    done = script(folder / "watched.py", *words, "--devices", 2)
    assert "process 0 leaves, 0 models" in done.stderr and "process 1 leaves, 0 models" in done.stderr
    return done


def test_processes_share_the_batches_and_end_together(database, tmp_path):
    words = flags("ecgnet", database, tmp_path, "--epochs", 2, "--batchsize", 79)
    done = train_watched(tmp_path, *words)  # the last batch, of one record, is too small to be shared
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("best: epoch") == 1
    assert [row["epoch"] for row in metrics_rows(tmp_path, "ecgnet")] == ["1", "2"]
    assert load_predictor("ecgnet", tmp_path).classes[0] == "CD"


def test_processes_all_end_when_the_first_cannot_write(database, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ecgnet").write_text("a file where the run's folder should be")
    words = flags("ecgnet", database, tmp_path, "--epochs", 1)
    done = train_watched(tmp_path, *words)
    assert done.returncode == 1
    assert "error: " in done.stderr and "Traceback" not in done.stderr


def test_processes_train_a_chain_and_one_prints(tmp_path):
    database = small_database(
        tmp_path / "ptbxl", codes=[{"NORM": 100.0, "SR": 0.0}, {"IMI": 100.0, "AFIB": 0.0}]
    )
    sizes = ["--width", 2, "--proto_dim", 4, "--single_class_prototype_per_class", 2, "--threads", 1]
    words = ["--model", "protoecgnet", "--branch", "rhythm", "--data_dir", database, "--output_dir", tmp_path]
    done = train_watched(tmp_path, *words, *sizes, "--epochs", 1, "--classifier_epochs", 1)
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("joint", "projection", "classifier"):
        assert done.stdout.count(f"--- {stage} of branch rhythm") == 1
    assert load_predictor("protoecgnet/rhythm/classifier", tmp_path).classes[:2] == ["1AVB", "IVCD"]

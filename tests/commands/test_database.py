"""A database of a plugin and k-fold splits through the ordinary commands."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.toy_database import write_toy
from tests.helpers.training_files import OPTIONS, small_database
from training.checkpoint import read_card
from utils.files import read_json

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "from tests.helpers.toy_database import register\n\nregister()\n"

pytestmark = pytest.mark.torch


def run(*words: object, code: int = 0) -> str:
    """What a command says; of one that fails, its error."""
    command = [sys.executable, "-W", "error::FutureWarning", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def training(out: Path, *more: object) -> tuple[object, ...]:
    model = ("--model", "ecgnet", "--model_config", json.dumps(OPTIONS["ecgnet"]))
    return (*model, "--output_dir", out, "--batchsize", 8, "--threads", 1, "--epochs", 1, *more)


def test_database_of_a_plugin_is_trained_resumed_and_tested(tmp_path):
    plugin = tmp_path / "toy_plugin.py"
    plugin.write_text(PLUGIN)
    data = write_toy(tmp_path / "toy", count=48)
    where = ("--plugins", plugin, "--database", "toy", "--data_dir", data, "--task", "speed")
    words = training(tmp_path, *where, "--sampling_rate", 100, "--seconds", 2)
    said = run("torch_train.py", *words)
    assert "speed: slow, mid, fast; most: 24 records, some: 12 records" in said
    said = run("torch_train.py", *words, "--resume", "--epochs", 2)
    assert "resumed at epoch 2" in said
    card = read_card(tmp_path / "checkpoints" / "ecgnet")
    assert card.outputs.chosen_on == "some"
    assert list(card.inputs.leads) == ["I", "II"]
    assert (card.inputs.sampling_rate, card.inputs.samples) == (100, 200)
    said = run("torch_test.py", "--plugins", plugin, "--output_dir", tmp_path, "--resamples", 5)
    assert "12 records of few, scored 1 time" in said
    with open(tmp_path / "logs" / "ecgnet" / "predictions.csv", newline="") as file:
        assert next(csv.DictReader(file))["ecg_id"] == "r006"
    summary = run("-m", "preprocessing.summary", *where, "--split", "kfold", "--sampling_rate", 0)
    assert "train: the other 3 folds; val: fold 2 of 5; test: fold 1 of 5" in summary
    error = run("torch_test.py", "--output_dir", tmp_path, code=2)  # without the plugin
    assert "toy" in error


def test_kfold_trains_and_tests_on_its_own_folds(tmp_path):
    data = small_database(tmp_path / "ptb")
    kfold = ("--data_dir", data, "--split", "kfold", "--folds", 4)
    said = run("torch_train.py", *training(tmp_path, *kfold, "--fold", 4))
    assert "the other 2 folds: " in said and "fold 1 of 4: " in said
    card = read_card(tmp_path / "checkpoints" / "ecgnet_fold4")
    assert card.outputs.chosen_on == "fold 1 of 4" and card.data.splits["test"] == "fold 4 of 4"
    said = run("torch_test.py", "--run", "ecgnet_fold4", "--output_dir", tmp_path, "--resamples", 5)
    assert "records of fold 4 of 4" in said
    report = read_json(tmp_path / "logs" / "ecgnet_fold4" / "test.json")
    assert report["split"] == "fold 4 of 4" and report["trained_on_this_data"]
    error = run("torch_train.py", *training(tmp_path, *kfold, "--folds", 51), code=2)
    assert "50 patients cannot be divided into 51 folds: use fewer --folds" in error

"""A new database, label set, task, backbone, augmenter, method or report section is one file.

Nothing but the files ``toy_*.py`` of this folder is needed; the ordinary commands do the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.extension.recordings import write
from training.checkpoint import load_state
from utils.files import read_json

pytestmark = pytest.mark.torch
HERE = Path(__file__).parent
TOYS = ",".join(f"tests.extension.{path.stem}" for path in sorted(HERE.glob("toy_*.py")))


def run(*words: object, code: int = 0) -> str:
    command = [sys.executable, "-W", "error::FutureWarning", *map(str, words), "--plugins", TOYS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def training(out: Path, data: Path, run_name: str, *more: object) -> tuple[object, ...]:
    where = ("--database", "toyecg", "--data_dir", data, "--output_dir", out, "--run", run_name)
    return (
        "torch_train.py",
        "--model",
        "toynet",
        *where,
        "--batchsize",
        8,
        "--threads",
        1,
        "--lr",
        0.05,
        *more,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("toy") / "toyecg")


@pytest.fixture(scope="module")
def out(data, tmp_path_factory) -> Path:
    """Output folder with a trained classifier and a trained segmentation."""
    out = tmp_path_factory.mktemp("toy_out")
    said = run(
        *training(out, data, "shapes", "--task", "toy_shapes", "--augment", "toy_flip:probability=0.1"),
        *("--epochs", 3),
    )
    assert "toy_shapes: tall, spike; the first 24: 24 records, the next 12: 12 records" in said
    sample = ("--task", "toy_spikes", "--model_config", json.dumps({"per_sample": True}), "--epochs", 3)
    assert "val iou" in run(*training(out, data, "spikes", *sample)).lower()
    return out


def test_toy_run_is_resumed_to_the_bit(out, data, tmp_path):
    words = ("--task", "toy_shapes", "--augment", "toy_flip:probability=0.1")
    run(*training(tmp_path, data, "shapes", *words, "--epochs", 1))
    assert "resumed at epoch 2" in run(*training(tmp_path, data, "shapes", *words, "--epochs", 3, "--resume"))
    whole, _ = load_state(out / "checkpoints" / "shapes")
    resumed, _ = load_state(tmp_path / "checkpoints" / "shapes")
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)


def test_toy_augmenter_changes_the_run_and_is_checked(out, data, tmp_path):
    run(*training(tmp_path, data, "plain", "--task", "toy_shapes", "--epochs", 1))
    plain, flipped = (
        read_json(f / "card.json") for f in (tmp_path / "checkpoints/plain", out / "checkpoints/shapes")
    )
    assert plain["weights_sha256"] != flipped["weights_sha256"]
    error = run(*training(tmp_path, data, "x", "--task", "toy_shapes", "--augment", "toy_flop"), code=2)
    assert "unknown augmenter 'toy_flop': did you mean 'toy_flip'?" in error
    error = run(*training(tmp_path, data, "x", "--task", "toy_shapes", "--augment", "toy_flip:p=1"), code=2)
    assert "unknown option 'p': did you mean 'probability'?" in error or "Valid: probability" in error


@pytest.mark.parametrize(("name", "score"), [("shapes", "macro ROC-AUC"), ("spikes", "iou")])
def test_toy_models_are_scored(out, name, score):
    report = ["--report"] if name == "shapes" else []
    said = run("torch_test.py", "--run", name, "--output_dir", out, "--resamples", 5, *report)
    assert "12 records of the last 12, scored" in said and score in said
    if report:
        page = out / "results" / name / "report" / "report.html"
        assert "12 records, says a &lt;plugin&gt;." in page.read_text()
    report = read_json(out / "logs" / name / "test.json")
    assert report["records"] == 12 and report["metrics"]


def test_toy_models_predict_a_recording(out, data, tmp_path):
    signal = np.load(data / "t45.npy")  # it has a spike
    np.save(tmp_path / "ecg.npy", signal)
    how = ("--dir", tmp_path / "ecg.npy", "--sampling_rate", 100, "--units", "mV", "--output_dir", out)
    said = run("inference.py", "--model", "shapes", *how)
    assert "tall" in said and "spike" in said and "Not a medical device" in said
    assert "spike: " in run("inference.py", "--model", "spikes", *how, "--no_pictures")
    prediction = read_json(out / "results" / "spikes" / "ecg" / "prediction.json")
    assert 0 <= prediction["spike_s"] <= 10


def test_toy_method_explains_and_toy_section_reports(out, data, tmp_path):
    windows, maps, page = tmp_path / "toyecg.npz", tmp_path / "maps", tmp_path / "report"
    task = ("--task", "toy_shapes", "--to", windows)
    run("-m", "attribution.build", "--dataset", "toyecg", "--data_dir", data, *task)
    run(
        *("-m", "attribution.compute", "--dataset", "toyecg", "--dataset_path", windows, "--limit", 2),
        *("--model_path", out / "checkpoints" / "shapes", "--prob_threshold", 0, "--result_dir", maps),
        *("--attr_method", "toy_magnitude", "random_baseline"),
    )
    run("-m", "attribution.evaluate", "--attr_dir", maps, "--eval_metric", "region_perturbation")
    run("-m", "attribution.report", maps, "--output_dir", page)
    text = (page / "report.html").read_text()
    assert "toy_magnitude" in text
    assert "A section of a plugin, with &lt;angle brackets&gt;." in text


def test_toys_are_unknown_without_the_plugins(out, data):
    command = [sys.executable, "torch_train.py", "--model", "toynet", "--data_dir", str(data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and "unknown model 'toynet'" in done.stderr


def test_toys_are_named_nowhere_else():
    listed = subprocess.run(
        ["git", "grep", "-lE", "toyecg|toynet|toy_(flip|magnitude|spikes|shapes)", "--", "*.py", ":!tests"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.stdout == ""

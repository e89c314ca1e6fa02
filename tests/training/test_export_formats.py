"""Exported models in 8 bits, in folders for the Hugging Face hub, as model cards; explained and predicted."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from explain import explain
from explain.leads import explain_leads
from explain.methods import CannotExplain
from preprocessing import Dataset
from tests.helpers.training_files import CLASSES, write_untrained
from training import load_predictor
from training.export import export_onnx, model_card
from training.export.hub import write_hub
from training.export.int8 import LosesTooMuch, loss_interval, quantize_onnx, refusal
from training.export.write import random_records
from training.tasks import create_task
from utils.ecg import NOT_A_DEVICE
from utils.errors import DataError, TwelveLeadError, UsageError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small PyTorch checkpoint and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    write_untrained(folder / "net", "ecgnet")
    export_onnx(folder / "net", folder / "model.onnx")
    return folder / "net", folder / "model.onnx"


def validation(predictor, records=48):
    """Records of as many patients, every other one large, which the model tells apart; so do the labels."""
    large = np.arange(records) % 2
    signals = random_records(predictor, records) * np.where(large, 20, 1)[:, None, None].astype(np.float32)
    sides = predictor.predict(signals[1::2]).mean(axis=0) > predictor.predict(signals[::2]).mean(axis=0)
    targets = large[:, None] == sides
    count = np.arange(records)
    return Dataset(signals, targets, list(predictor.classes), count, count, np.full(records, "val"), 100)


def test_int8_file_is_smaller_and_says_what_it_lost(exported, tmp_path):
    predictor, small = load_predictor(exported[1]), tmp_path / "model.int8.onnx"
    figures = quantize_onnx(exported[1], small, validation(predictor))
    assert figures["score"] == "macro_roc_auc" and figures["float32"] > 0.9
    assert figures["lost"] <= figures["lost_up_to"] <= 0.003 and figures["left_out"] == []
    operators = {node.op_type for node in onnx.load_model(small).graph.node}
    assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM"} <= operators and "Conv" not in operators
    quantized = load_predictor(small)
    assert quantized.model.notes["int8"] == figures
    signals = random_records(predictor, 5)
    together = quantized.predict(signals)
    alone = np.concatenate([quantized.predict(signals[i : i + 1]) for i in range(5)])
    assert np.array_equal(together, alone) and 0 < np.abs(together - predictor.predict(signals)).max() < 0.05


def test_int8_file_that_loses_too_much_is_refused(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("training.export.int8.MOST_LOST", -2.0)
    with pytest.raises(
        TwelveLeadError, match=r"macro_roc_auc of 48 validation records falls from [01]"
    ) as refused:
        quantize_onnx(exported[1], tmp_path / "small.onnx", validation(load_predictor(exported[1])))
    assert not (tmp_path / "small.onnx").exists() and refused.value.figures["records"] == 48


def test_int8_file_needs_records_that_show_a_small_loss(exported, tmp_path):
    predictor, out = load_predictor(exported[1]), tmp_path / "small.onnx"
    few = validation(predictor, 24)
    with pytest.raises(LosesTooMuch, match="cannot be shown: 24 patients, and no class that 20 have"):
        quantize_onnx(exported[1], out, few)
    figures = {"score": "macro_roc_auc", "records": 99, "patients": 90, "lost": 0.001, "lost_up_to": 0.0042}
    assert "is not shown: the loss is 0.0010, with more patients it may be 0.0042" in refusal(figures)
    assert refusal(figures | {"lost_up_to": 0.003}) == ""
    assert not out.exists()


def test_int8_loss_of_scores_without_a_bootstrap_of_their_own_is_resampled():
    task = create_task("rpeaks", ["r_peak"])
    task.sampling_rate = 100
    targets = np.zeros((24, 500, 1), np.int8)
    for peak in (100, 200, 300, 400):
        targets[:, peak - 2 : peak + 3] = 1
    exact = targets.astype(np.float64)
    worse = exact.copy()
    worse[:3, 90:110] = 0  # a peak in three records of 24 patients
    lost = loss_interval(task, None, targets, [exact, worse], np.arange(24))
    assert 0.01 < 3 / (24 * 4) / 2 < lost < 0.06


def test_int8_needs_records_to_score(exported):
    done = subprocess.run(
        [sys.executable, "-m", "twelvelead", "export", str(exported[0]), "--int8"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2 and "needs --data_dir" in done.stderr


def test_exported_model_is_explained_without_gradients(exported):
    checkpoint, file = load_predictor(exported[0]), load_predictor(exported[1])
    signals = random_records(checkpoint, 1)
    maps = [explain(p, signals, "lime", CLASSES[0], n_samples=16) for p in (checkpoint, file)]
    assert np.abs(maps[0]).max() > 0 and np.allclose(maps[0], maps[1], atol=1e-3)
    leads = [explain_leads(p, signals[0], CLASSES[0]).values for p in (checkpoint, file)]
    assert np.allclose(*leads, atol=1e-3)
    with pytest.raises(CannotExplain, match="an exported model has no gradients"):
        explain(file, signals, "integrated_gradients")


def test_hub_folder_of_torch_weights_gives_the_same_answers(exported, tmp_path):
    written = write_hub(exported[0], tmp_path / "hub")
    assert sorted(path.name for path in written) == ["README.md", "config.json", "model.safetensors"]
    expected, found = load_predictor(exported[0]), load_predictor(tmp_path / "hub")
    signals = random_records(expected, 2)
    assert np.array_equal(found.predict(signals), expected.predict(signals))
    head, text = written[2].read_text().removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["license"] == "apache-2.0" and NOT_A_DEVICE in text
    (tmp_path / "hub" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="SHA-256 differs"):
        load_predictor(tmp_path / "hub")
    with pytest.raises(UsageError, match="is the checkpoint itself"):
        write_hub(exported[0], exported[0])


@pytest.mark.tf
def test_hub_folder_of_keras_weights_gives_the_same_answers(tmp_path):
    write_untrained(tmp_path / "net", "mousavi")
    write_hub(tmp_path / "net", tmp_path / "hub")
    expected, found = load_predictor(tmp_path / "net"), load_predictor(tmp_path / "hub")
    signals = random_records(expected, 2)
    assert np.array_equal(found.predict(signals), expected.predict(signals))
    card = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert card["framework"] == "keras" and card["weights"] == "model.safetensors"


def test_model_card_of_shipped_weights_has_scores_with_intervals():
    from training.checkpoint import find_checkpoint, read_card

    text = model_card(read_card(find_checkpoint("resnet1d_wang")), "resnet1d_wang")
    assert "| fold 10, 2158 records | macro roc auc | 0.931 | 0.924 to 0.938 |" in text
    assert "| NORM | 0.422 | yes |" in text and NOT_A_DEVICE in text and "Apache-2.0" in text

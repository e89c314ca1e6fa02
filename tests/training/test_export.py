"""Trained models as ONNX files: the same answers, and nothing but answers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.helpers.training_files import write_untrained
from training import load_predictor
from training.checkpoint import find_checkpoint, run_name
from training.export import export_onnx
from training.export.onnx_file import PREFIX, _digest, read_onnx
from training.export.write import random_records
from utils.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small PyTorch checkpoint that reads crops, and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    write_untrained(folder / "net", "ecgnet", samples=400, crop=160)
    export_onnx(folder / "net", folder / "model.onnx")
    return folder / "net", folder / "model.onnx"


def change(path: Path, to: Path, edit, sign: bool = True) -> Path:
    """A copy of a file with an edited network, and with a checksum that fits."""
    model = onnx.load_model(path)
    edit(model)
    for entry in model.metadata_props:
        if sign and entry.key == PREFIX + "network_sha256":
            entry.value = json.dumps(_digest(model))
    to.write_bytes(model.SerializeToString())
    return to


def test_run_name_of_an_exported_file_tells_its_model_and_its_format(tmp_path):
    names = {run_name(tmp_path / name) for name in ("a", "a/model.onnx", "a/model.int8.onnx", "b/model.onnx")}
    assert names == {"a", "a/model.onnx", "a/model.int8.onnx", "b/model.onnx"}
    assert run_name(tmp_path / "checkpoints" / "a" / "model.onnx") == "a/model.onnx"


def test_export_of_an_exported_file_is_refused(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UsageError, match="is an exported file: name the checkpoint"):
        find_checkpoint(tmp_path / "model.onnx")


@pytest.mark.torch
@pytest.mark.parametrize("count", [1, 5])
def test_export_answers_like_the_predictor(exported, count):
    checkpoint, path = exported
    expected, found = load_predictor(checkpoint), load_predictor(path, threads=1)
    signals = random_records(expected, count, seed=7)
    assert np.abs(found.predict(signals) - expected.predict(signals)).max() < 1e-6
    calibrated = found.predict(signals, calibrated=True)
    assert np.abs(calibrated - expected.predict(signals, calibrated=True)).max() < 1e-6
    assert (found.classes, found.leads, found.samples) == (expected.classes, expected.leads, 400)
    assert np.array_equal(found.thresholds, expected.thresholds)
    assert np.array_equal(found.standardize(signals), expected.standardize(signals))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("standardization", "left"),
    [
        ({"mean": 0.0, "std": 1.0, "per_record": True}, []),
        (
            {"mean": 0, "std": 1, "sampling_rate": 100, "preprocess": [["normalize", {"method": "min-max"}]]},
            [],
        ),
        ({"mean": 0.1, "std": 2.0, "sampling_rate": 100, "highpass": 0.5}, ["highpass"]),
        (
            {
                "mean": 0.0, "std": 1.0, "sampling_rate": 100,
                "preprocess": [["bandpass", {}], ["normalize", {"method": "z-score", "per_channel": True}]],
            },
            ["bandpass"],
        ),
    ],
)  # fmt: skip
def test_export_says_which_preprocessing_its_caller_does(tmp_path, standardization, left):
    write_untrained(tmp_path / "net", "ecgnet", standardization=standardization)
    export_onnx(tmp_path / "net", tmp_path / "model.onnx")
    expected, found = load_predictor(tmp_path / "net"), load_predictor(tmp_path / "model.onnx")
    signals = random_records(expected, 2)
    assert np.abs(found.predict(signals) - expected.predict(signals)).max() < 1e-5
    model = onnx.load_model(tmp_path / "model.onnx")
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert [name for name, _ in metadata[PREFIX + "before_the_network"]] == left
    assert "Not a medical device" in metadata[PREFIX + "notice"]


@pytest.mark.tf
def test_export_of_a_keras_model_answers_like_it(tmp_path):
    write_untrained(tmp_path / "net", "mousavi")
    done = subprocess.run(
        [sys.executable, "-m", "twelvelead", "export", str(tmp_path / "net"), "--out", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Not a medical device" in done.stdout
    expected, found = load_predictor(tmp_path / "net"), load_predictor(tmp_path / "out" / "model.onnx")
    signals = random_records(expected, 3)
    assert np.abs(found.predict(signals) - expected.predict(signals)).max() < 1e-5


def _foreign(model):
    model.graph.node[0].domain = "evil.operators"


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _function(model):
    model.functions.add(name="f", domain="")


def _loop(model):
    body = helper.make_graph([helper.make_node("Loop", [], [])], "body", [], [])
    model.graph.node.append(helper.make_node("Identity", [], [], inner=body))


def _huge(model):
    model.graph.initializer[0].dims[:] = [2**40, 2**40]


def _other_leads(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 3


def _other_input(model):
    model.graph.input[0].name = "x"


@pytest.mark.torch
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_foreign, "of evil.operators, which no export has"),
        (_external, "in another file, which is not read"),
        (_function, "functions of its own"),
        (_loop, "uses the operator Loop"),
        (_huge, "an impossible shape"),
        (_other_leads, "the card belongs to another model"),
        (_other_input, "must have the input signals_mv"),
    ],
)
def test_onnx_file_that_may_do_more_is_refused(exported, tmp_path, edit, message):
    with pytest.raises(DataError, match=message):
        load_predictor(change(exported[1], tmp_path / "model.onnx", edit))


@pytest.mark.torch
def test_onnx_file_that_was_changed_is_refused(exported, tmp_path):
    def weights(model):
        model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))

    with pytest.raises(DataError, match="SHA-256 differs"):
        load_predictor(change(exported[1], tmp_path / "model.onnx", weights, sign=False))
    content = exported[1].read_bytes()
    for name, part in (("half.onnx", content[: len(content) // 2]), ("text.onnx", b"not a network")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(DataError, match="export the model again"):
            load_predictor(tmp_path / name)


@pytest.mark.torch
def test_onnx_file_with_the_card_of_another_model_is_refused(exported, tmp_path):
    write_untrained(tmp_path / "other", "ecgnet", samples=400, crop=160, classes=["A", "B", "C"])
    export_onnx(tmp_path / "other", tmp_path / "other.onnx")
    card = next(
        e.value for e in onnx.load_model(tmp_path / "other.onnx").metadata_props if e.key.endswith(".card")
    )

    def swap(model):
        for entry in model.metadata_props:
            if entry.key == PREFIX + "card":
                entry.value = card

    with pytest.raises(DataError, match="is not that of the card"):
        load_predictor(change(exported[1], tmp_path / "model.onnx", swap))

    def drop(model):
        del model.metadata_props[:]

    with pytest.raises(DataError, match="no card of TwelveLead"):
        load_predictor(change(exported[1], tmp_path / "model.onnx", drop))


def test_export_of_what_is_not_a_checkpoint_is_refused(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="has weights, but no card"):
        export_onnx(tmp_path, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="no ONNX file"):
        read_onnx(tmp_path / "absent.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'twelvelead\[onnx\]'"):
        export_onnx(tmp_path, tmp_path / "model.onnx")

"""Trained models as attribution sees them: logits of both frameworks, crops, where a map's columns lie."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from explain.engine.classifier import FeatureLayer, load_classifier, use_torch_backend
from explain.methods import CannotExplain, explain
from models_torch import create_model
from models_torch.layers import recorded
from tests.helpers.attribution_golden import arrays, classifier, narrow_model, ours
from tests.helpers.attribution_models import KERAS, TORCH, check, small_classifier, small_signals
from utils.errors import DataError, TwelveLeadError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH)
def test_methods_on_every_pytorch_model(name):
    check(name)


@pytest.fixture(scope="module")
def keras_report():
    """What the checks of the Keras models say; they run on the PyTorch backend whatever is asked for here."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.helpers.attribution_models", *KERAS],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.tf
@pytest.mark.parametrize("name", ["checkpoint", *KERAS])
def test_methods_on_every_keras_model(name, keras_report):
    assert f"checked {name}\n" in keras_report, keras_report[-3000:]


def test_models_of_both_registries_are_checked():
    from models_tf import list_models as list_keras
    from models_torch import list_models, model_info

    classifiers = {
        name
        for name in list_models()
        if any(not case.columns and case.options["leads"] > 1 for case in model_info(name).cases)
    }
    assert {name.split(" ")[0] for name in TORCH} == classifiers
    assert {name.split(" ")[0] for name in KERAS} == set(list_keras())


# ---- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.torch
def test_load_classifier_by_name():
    subject = load_classifier("ecgnet")
    assert (subject.name, subject.model_name, subject.framework) == ("ecgnet", "ecgnet", "torch")
    assert subject.classes == ["CD", "HYP", "MI", "NORM", "STTC"] and len(subject.leads) == 12
    assert (subject.samples, subject.sampling_rate, subject.crop, subject.multilabel) == (1000, 100, 0, True)
    assert subject.attention is None and subject.fast is subject.module
    signals = np.random.default_rng(0).standard_normal((2, 1000, 12)).astype(np.float32)
    x = subject.standardize(signals)
    before = subject.predictor.predict(signals)
    np.testing.assert_allclose(subject.probabilities(subject.logits(x)), before, rtol=0, atol=1e-6)
    with pytest.raises(DataError, match="record 1, lead V1: NaN"):
        subject.standardize(np.where(np.arange(24).reshape(2, 1, 12) == 18, np.nan, signals))


def test_load_classifier_keras_on_another_backend_raises(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "keras", SimpleNamespace(backend=SimpleNamespace(backend=lambda: "tensorflow"))
    )
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(
        TwelveLeadError, match=r"already running on tensorflow.*set KERAS_BACKEND=torch before"
    ):
        use_torch_backend()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    monkeypatch.delitem(sys.modules, "keras")
    use_torch_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_load_classifier_unknown_name_raises():
    with pytest.raises(UsageError, match="no trained model 'ecgnett': did you mean 'ecgnet'"):
        load_classifier("ecgnett")


# ---- logits --------------------------------------------------------------------------------------


@pytest.mark.torch
def test_logits_equal_the_reference():
    subject = classifier(narrow_model())
    logits = subject.logits(ours(arrays()["x"]), batch_size=4)
    np.testing.assert_allclose(logits, arrays()["logits"], rtol=0, atol=1e-5)
    assert subject.logits(np.zeros((0, 2880, 1))).shape == (0, 4)
    by_array, by_tensor = subject.probabilities(logits), subject.probabilities(torch.tensor(logits))
    assert isinstance(by_array, np.ndarray) and isinstance(by_tensor, torch.Tensor)
    np.testing.assert_array_equal(by_array, by_tensor.numpy())
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_array, softmax, rtol=1e-5)


@pytest.mark.torch
def test_classifier_of_crops_averages_the_logits_of_windows():
    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=2, samples=64, leads=3, widths=(4, 4, 4, 4)).eval()
    subject = classifier(model, samples=160, crop=64, multilabel=True)
    x = small_signals()
    with torch.no_grad():
        windows = [model(torch.from_numpy(x[:, s : s + 64])).numpy() for s in (0, 32, 64, 96)]
    np.testing.assert_allclose(subject.logits(x), np.mean(windows, axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        subject.probabilities(subject.logits(x)), 1 / (1 + np.exp(-subject.logits(x))), rtol=1e-5
    )
    # a map of each window, added where they overlap
    (layer,), values = subject.feature_layers, torch.ones(4, 3, 1, 2)
    laid_out = subject.lay_out(layer, values)[0, :, 0]
    np.testing.assert_allclose(laid_out, [1] * 32 + [2] * 96 + [1] * 32)


# ---- columns in time -----------------------------------------------------------------------------


@pytest.mark.torch
def test_feature_columns_are_placed_at_the_middle_of_their_receptive_field():
    """Flat kernels see evenly, so the centroid of a column's gradient is its center.

    Max-pooling takes the last samples of a rising signal and the first of a falling one: both are read.
    """
    sizes = {"samples": 640, "leads": 1}
    for name, options in (
        ("resnet18", {"widths": (2, 2, 2, 2)}),
        ("resnet101", {"width": 2, "blocks": (1, 1, 1, 1)}),
        ("protoecgnet_trunk", {"width": 2, "backbone": "resnet1d18"}),
        ("protoecgnet_trunk", {"width": 2, "decimation": 5, "samples": 3200, "bounded": True}),
        ("ecgnet", {"filters": 2, "blocks": 9, "lstm_units": 2, "samples": 3200}),
    ):
        model = create_model(name, **{**sizes, **options}).eval().double()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
                torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        (info,) = (info for info in model.feature_info if info.explained)
        layer = FeatureLayer(info, model.samples, 1, channels_last=False)
        ramp = torch.linspace(1, 2, model.config["samples"]).double()
        x = torch.stack([ramp, ramp.flip(0)])[:, :, None].requires_grad_(True)
        with recorded(model, [info.name]) as outputs:
            model(x)
        columns, first = layer.arrange(outputs[info.name]).sum(dim=(0, 1, 2, 3)), 0
        for part in info.middles(len(columns)):
            middle = np.argmin(np.abs(part - x.shape[1] / 2))
            (gradient,) = torch.autograd.grad(columns[first + middle], x, retain_graph=True)
            weights = gradient.abs().sum(dim=(0, 2)).numpy()
            centroid = (weights * np.arange(x.shape[1])).sum() / weights.sum()
            assert abs(centroid - part[middle]) < 0.2 * (part[1] - part[0]), (name, centroid, part[middle])
            first += len(part)
        assert first == len(columns)


@pytest.mark.torch
def test_upsampling_centered_and_nearest():
    info = small_classifier("resnet18").feature_layers[0].info
    values = torch.tensor([[[[0.0, 4.0, 2.0]]]])
    centered = FeatureLayer(info, 96, 2, channels_last=False).lay_out(values, "centered")[0]
    assert centered.shape == (96, 2) and torch.equal(centered[:, 0], centered[:, 1])
    expected = np.interp(np.arange(96), [0, 32, 64], [0, 4, 2])
    np.testing.assert_allclose(centered[:, 0], expected, atol=1e-6)
    nearest = FeatureLayer(info, 97, 2, channels_last=False).lay_out(values, "nearest")[0, :, 1]
    np.testing.assert_array_equal(nearest, [[0, 4, 2][t * 3 // 97] for t in range(97)])


@pytest.mark.torch
def test_gradcam_without_feature_info_raises():
    model = create_model("resnet18", num_classes=2, samples=160, leads=3, widths=(4, 4, 4, 4))
    model.feature_info = ()
    subject = classifier(model)
    with pytest.raises(CannotExplain, match="give the model feature_info"):
        explain(subject, "gradcam", small_signals(), np.zeros(3, int))

"""Gradient methods: the reference's numbers, Captum's, and what `explain` checks."""

from itertools import pairwise

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from explain.methods import CannotExplain, Settings, explain, get_method, list_methods, register_method
from explain.methods.gradcam import coarse_maps
from explain.methods.gradients import input_gradients
from explain.methods.registry import METHODS
from tests.helpers.attribution_golden import arrays, classifier, full_model, narrow_model, ours
from tests.helpers.attribution_models import small_classifier, small_signals
from utils.errors import DataError, TwelveLeadError, UsageError

pytestmark = pytest.mark.torch
REFERENCE = Settings(upsampling="nearest")


@pytest.fixture(scope="module")
def narrow():
    return classifier(narrow_model())


def assert_same(map_, golden, method, limit=1e-5):
    """The reference's map, but for the reach of a few units that sit at their ReLU's kink.

    There the gradient jumps, and rounding, which differs between processors, decides to which side.
    """
    golden = ours(golden)
    largest = np.abs(golden).max(axis=(1, 2), keepdims=True)
    off = np.abs(map_ - golden) / largest
    same = (off < limit)[np.abs(golden) > 1e-3 * largest].mean()
    assert same > 0.8 and off.max() < 0.1, (method, same, off.max())


# ---- goldens of the reference --------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["saliency", "input_gradient", "guided_backprop", "gradcam", "guided_gradcam"]
)
def test_gradient_maps_equal_the_reference(narrow, method):
    golden = arrays()
    maps = explain(narrow, method, ours(golden["x"]), golden["y"], REFERENCE)
    assert_same(maps, golden[f"a/{method}"], method)


def test_integrated_gradients_equal_the_reference(narrow):
    golden = arrays()
    maps = explain(narrow, "integrated_gradients", ours(golden["x"])[3:5], golden["y"][3:5], REFERENCE)
    assert_same(maps, golden["a/integrated_gradients"][3:5], "integrated_gradients")


def test_gradcam_before_upsampling(narrow):
    golden = arrays()
    (coarse,) = coarse_maps(narrow, ours(golden["x"]), golden["y"])
    assert coarse.shape == (6, 1, 1, 90)
    raw = golden["gradcam_raw"]
    assert np.abs(coarse.numpy() - raw).max() < 1e-5 * np.abs(raw).max()
    # half a step: the reference's staircase lags behind the columns' centers, a straight line does not
    centered = explain(narrow, "gradcam", ours(golden["x"]), golden["y"])
    np.testing.assert_allclose(
        centered[:, ::32, 0], coarse[:, 0, 0].numpy(), rtol=0, atol=1e-5 * np.abs(raw).max()
    )


def test_gradient_maps_of_the_full_network_equal_the_reference():
    golden = arrays()
    subject, x = classifier(full_model(4, 2880, 1, seed=0)), ours(golden["x"])
    np.testing.assert_allclose(subject.logits(x[:2]), golden["full/logits"], rtol=1e-5)
    for method in ("saliency", "guided_backprop", "gradcam", "guided_gradcam"):
        maps = explain(subject, method, x[:1], golden["y"][:1], REFERENCE)
        assert_same(maps, golden[f"full/{method}"], method)


def test_gradient_maps_of_twelve_leads_equal_the_reference():
    golden = arrays()
    subject, x = classifier(full_model(22, 1000, 12, seed=1), sampling_rate=100), ours(golden["l12/x"])
    np.testing.assert_allclose(subject.logits(x), golden["l12/logits"], rtol=0, atol=1e-4)
    for method in ("gradcam", "guided_gradcam"):
        maps = explain(subject, method, x, np.array([3]), REFERENCE)
        assert_same(maps, golden[f"l12/{method}"], method, 2e-5)
    assert_same(explain(subject, "saliency", x, np.array([3])), golden["l12/saliency"], "saliency")


# ---- Captum --------------------------------------------------------------------------------------


def test_gradient_maps_equal_captum_where_relus_are_layers():
    subject, x = small_classifier("resnet18"), small_signals()
    targets, signals = torch.tensor([2, 0, 1]), torch.from_numpy(small_signals()).requires_grad_(True)
    with pytest.warns(UserWarning, match="hooks"):
        guided = captum.attr.GuidedBackprop(subject.module).attribute(signals, target=targets)
    integrated = captum.attr.IntegratedGradients(subject.module)
    expected = {
        "guided_backprop": guided,
        "input_gradient": captum.attr.InputXGradient(subject.module).attribute(signals, target=targets),
        "integrated_gradients": integrated.attribute(signals, target=targets, n_steps=20),
    }
    for method, theirs in expected.items():
        maps = explain(subject, method, x, targets.numpy(), Settings(ig_steps=20))
        theirs = theirs.detach().numpy()
        np.testing.assert_allclose(maps, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max(), err_msg=method)


class Functions(nn.Module):
    """A net whose ReLUs are calls of all kinds."""

    def __init__(self, calls):
        super().__init__()
        torch.manual_seed(0)
        sizes = [3] + [16] * len(calls)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes))
        self.relus = nn.ModuleList(call for call in calls if isinstance(call, nn.Module))
        self.head, self.calls = nn.Linear(16, 3), calls
        self.config = {"name": "functions", "num_classes": 3, "samples": 160, "leads": 3}

    def forward(self, signals):
        x = signals.transpose(1, 2)
        for layer, call in zip(self.layers, self.calls, strict=True):
            x = call(layer(x))
        return self.head(x.mean(dim=2))


def test_guided_backprop_sees_every_spelling_of_relu():
    calls = [
        *(nn.functional.relu, torch.relu, torch.Tensor.relu, nn.ReLU(), nn.ReLU(inplace=True)),
        *(torch.relu_, torch.Tensor.relu_, lambda x: nn.functional.relu(x, inplace=True)),
        lambda x: nn.functional.relu(input=x),
    ]
    subject, targets = classifier(Functions(calls).eval()), np.array([0, 1, 2])
    twin = Functions([nn.ReLU() for _ in calls]).eval()
    twin.load_state_dict(subject.module.state_dict())
    signals = torch.from_numpy(small_signals()).requires_grad_(True)
    with pytest.warns(UserWarning, match="hooks"):
        theirs = captum.attr.GuidedBackprop(twin).attribute(signals, target=torch.from_numpy(targets)).numpy()
    maps = explain(subject, "guided_backprop", small_signals(), targets)
    np.testing.assert_allclose(maps, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
    assert np.abs(maps).max(axis=(1, 2)).min() > 0
    with pytest.raises(CannotExplain, match="which layer of 'functions' to read"):
        explain(subject, "gradcam", small_signals(), targets)


def test_guided_backprop_without_relu_raises():
    subject = classifier(Functions([torch.tanh]).eval())
    with pytest.raises(CannotExplain, match="'functions' has none: take saliency"):
        explain(subject, "guided_backprop", small_signals(), np.array([0, 1, 2]))


# ---- randomness ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), keys=st.lists(st.integers(0, 10**6), min_size=3, max_size=3, unique=True))
def test_random_baseline_depends_on_the_window_only(seed, keys):
    subject, x, targets = CLASSIFIER, small_signals(), np.array([0, 1, 2])
    together = explain(subject, "random_baseline", x, targets, Settings(seed=seed, seeds=np.array(keys)))
    assert len(np.unique(together)) > 0.99 * together.size
    for i in (0, 2):
        alone = Settings(seed=seed, seeds=np.array(keys[i : i + 1]))
        np.testing.assert_array_equal(
            explain(subject, "random_baseline", x[i : i + 1], targets[i : i + 1], alone)[0], together[i]
        )
    other = explain(subject, "random_baseline", x, targets, Settings(seed=seed + 1, seeds=np.array(keys)))
    assert np.abs(other - together).max() > 0.1


def test_random_baseline_is_standard_normal():
    noise = explain(CLASSIFIER, "random_baseline", np.zeros((50, 160, 3)), np.zeros(50, int))
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03


CLASSIFIER = small_classifier("resnet18")


# ---- what `explain` checks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"name": "gradcamm"}, UsageError, "unknown attribution method 'gradcamm': did you mean 'gradcam'"),
        ({"x": np.zeros((3, 160, 2))}, DataError, r"\(B, 160 samples, 3 leads\), not \(3, 160, 2\)"),
        ({"x": np.zeros((3, 100, 3))}, DataError, "bring them to the model's length"),
        ({"x": np.full((3, 160, 3), np.inf)}, DataError, "window 0 has values that are not finite"),
        ({"targets": np.array([0, 1, 3])}, UsageError, "targets must be classes 0 to 2"),
        ({"targets": np.array([0, -1, 1])}, UsageError, "targets must be classes 0 to 2"),
        ({"targets": np.array([0.0, 1, 2])}, UsageError, "3 whole numbers"),
        ({"targets": np.array([0, 1])}, UsageError, "3 whole numbers"),
        ({"seeds": np.array([1, 2])}, UsageError, "one number >= 0 for each of 3 windows"),
        ({"seeds": np.array([1, 2, -3])}, UsageError, "one number >= 0"),
        ({"name": "attention"}, CannotExplain, "attention is what a model such as IMLE-Net"),
    ],
)
def test_compute_maps_wrong_input_raises(change, kind, message):
    given = {"name": "saliency", "x": small_signals(), "targets": np.array([0, 1, 2]), "seeds": None} | change
    with pytest.raises(kind, match=message):
        explain(
            CLASSIFIER,
            given["name"],
            given["x"],
            given["targets"],
            Settings(seeds=given["seeds"], batch_size=2),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"ig_steps": 0}, "--ig_steps must be at least 1"),
        ({"n_samples": 1}, "--n_samples must be at least 2"),
        ({"seed": -1}, "--seed must not be negative"),
        ({"segment_ms": 0.0}, "--segment_ms must be above 0"),
        ({"segment_ms": float("nan")}, "--segment_ms must be a finite number"),
        ({"segment_ms": float("inf")}, "--segment_ms must be a finite number"),
        ({"segment_samples": -1}, "--segment_samples must not be negative"),
        ({"upsampling": "centred"}, "did you mean 'centered'"),
    ],
)
def test_settings_wrong_values_raise(options, message):
    with pytest.raises(UsageError, match=message):
        Settings(**options)


def test_compute_maps_of_no_windows():
    maps = explain(CLASSIFIER, "saliency", np.zeros((0, 160, 3)), np.zeros(0, int))
    assert maps.shape == (0, 160, 3)


@pytest.fixture
def registry():
    """The methods; what a test adds is taken back."""
    before = METHODS.names()
    yield METHODS
    for name in set(METHODS.names()) - set(before):
        METHODS.remove(name)


def test_method_output_is_checked(registry):
    for name, values in (("short", np.zeros((3, 5, 3))), ("broken", np.full((3, 160, 3), np.nan))):
        register_method(name)(lambda *_, values=values: values)
    x, targets = small_signals(), np.array([0, 1, 2])
    with pytest.raises(TwelveLeadError, match=r"short gave maps of shape \(3, 5, 3\)"):
        explain(CLASSIFIER, "short", x, targets)
    with pytest.raises(TwelveLeadError, match="broken gave values that are not finite for window 40"):
        explain(CLASSIFIER, "broken", x, targets, Settings(seeds=np.array([40, 41, 42])))


def test_method_input_is_a_copy(registry):
    def greedy(classifier, x, targets, settings):
        x += 1
        return x

    register_method("greedy")(greedy)
    x = small_signals()
    explain(CLASSIFIER, "greedy", x, np.array([0, 1, 2]))
    np.testing.assert_array_equal(x, small_signals())


def test_methods_are_registered_with_what_is_known_of_them():
    assert {"saliency", "gradcam", "attention", "random_baseline"} <= set(list_methods())
    assert get_method("attention").signed is False and get_method("gradcam").signed
    assert get_method("integrated_gradients").uses == ("ig_steps",)


def test_input_gradients_of_rows_are_independent():
    x = torch.from_numpy(small_signals())
    together = input_gradients(CLASSIFIER, x, torch.tensor([0, 1, 2]))
    alone = input_gradients(CLASSIFIER, x[1:2], torch.tensor([1]))
    np.testing.assert_allclose(together[1], alone[0], rtol=0, atol=1e-6)
    assert not x.requires_grad

"""LIME and KernelSHAP: the reference's numbers, Captum's, what theory says, and odd inputs."""

import warnings
from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from torch import nn

from explain.methods import Settings, explain
from explain.methods.perturbation import (
    _outputs,
    fit_kernel_shap,
    fit_lime,
    kernel_shap_masks,
    lime_masks,
    segments,
    similarity_weights,
)
from tests.helpers.attribution_golden import arrays, classifier, narrow_model, ours

pytestmark = pytest.mark.torch
STUDY = Settings(segment_samples=24)


@pytest.fixture(scope="module")
def narrow():
    return classifier(narrow_model())


@pytest.fixture(scope="module")
def first(narrow):
    """First golden window: signal, target and segments of 24 samples."""
    golden = arrays()
    return ours(golden["x"])[0], int(golden["y"][0]), segments(2880, 1, 24)


def internals(method):
    """Masks, outputs, weights, coefficients and intercept of the reference for the first golden window."""
    found = {
        name: arrays()[f"lime_internals/{method}/{name}"] for name in ("outputs", "weights", "coef", "bias")
    }
    packed = arrays()[f"lime_internals/{method}/masks"]
    return {**found, "masks": np.unpackbits(packed, axis=1)[:, :120].astype(bool)}


class Linear(nn.Module):
    """Weighted sum of all samples, one weight a sample, for each of two classes."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))  # (T, leads, classes)
        self.config = {"name": "linear", "num_classes": 2, "samples": len(weight), "leads": weight.shape[1]}

    def forward(self, x):
        return torch.einsum("btl,tlc->bc", x, self.weight)


def linear_classifier(samples=100, leads=2, scale=1.0):
    weight = scale * np.random.default_rng(0).standard_normal((samples, leads, 2))
    return classifier(Linear(weight), sampling_rate=100), weight


# ---- the reference's numbers ---------------------------------------------------------------------


def test_segments_equal_the_reference():
    mask = arrays()["l12/feature_mask"]  # 12 leads of 1000 samples, segments of 32
    np.testing.assert_array_equal(segments(1000, 12, 32), mask[0, 0].T)
    assert segments(2880, 1, 24).max() + 1 == 120 and segments(5000, 12, 32).max() + 1 == 1884


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_perturbed_outputs_equal_the_reference(narrow, first, method):
    x, target, ids = first
    given_ = internals(method)
    outputs = _outputs(narrow, x, target, given_["masks"], ids, batch_size=32)
    np.testing.assert_allclose(outputs, given_["outputs"], rtol=0, atol=1e-5)


def test_lime_equals_the_reference(first):
    x, _, ids = first
    given_ = internals("lime")
    weights = similarity_weights(x, given_["masks"], ids)
    np.testing.assert_allclose(weights, given_["weights"], rtol=0, atol=1e-6)
    coefficients = fit_lime(given_["masks"], given_["outputs"], weights)
    np.testing.assert_allclose(coefficients, given_["coef"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(coefficients[ids], ours(arrays()["a/lime"])[0], rtol=0, atol=1e-5)


def test_kernel_shap_equals_the_reference(first):
    _, _, ids = first
    given_ = internals("kernel_shap")
    masks, outputs, weights = given_["masks"], given_["outputs"].astype(float), given_["weights"]
    assert masks[0].all() and not masks[1].any() and (weights[:2] == 1e6).all() and (weights[2:] == 1).all()
    coefficients = fit_kernel_shap(masks, outputs)
    # The reference solves in single precision, which weights of 1 and 1e6 do not bear: 7e-4 of its
    # coefficients, whose largest is 0.96, are rounding. Ours fit its own logits better.
    np.testing.assert_allclose(coefficients, given_["coef"], rtol=0, atol=2e-3)
    exact = LinearRegression().fit(masks.astype(float), outputs, sample_weight=weights.astype(float))
    np.testing.assert_allclose(coefficients, exact.coef_, rtol=0, atol=1e-8)

    def cost(solution):
        rest = outputs - masks @ solution
        rest -= np.average(rest, weights=weights)
        return np.sum(weights * rest**2)

    assert cost(coefficients) < cost(given_["coef"].astype(float))
    np.testing.assert_allclose(coefficients[ids], ours(arrays()["a/kernel_shap"])[0], rtol=0, atol=2e-3)


# ---- Captum's ------------------------------------------------------------------------------------


class DoubleLeastSquares:
    """A linear model for Captum, whose own is fitted in single precision."""

    def fit(self, loader):
        masks, outputs, weights = (part.double().numpy() for part in next(iter(loader)))
        self.coefficients = LinearRegression().fit(masks, outputs, sample_weight=weights).coef_

    def representation(self):
        return torch.from_numpy(self.coefficients)


def test_lime_and_kernel_shap_equal_captum_for_equal_masks(narrow, first):
    x, target, ids = first
    arguments = {"target": target, "feature_mask": torch.from_numpy(ids)[None], "n_samples": 200}
    arguments["perturbations_per_eval"] = 50
    for draw, fit in ((lime_masks, fit_lime), (kernel_shap_masks, fit_kernel_shap)):
        masks = draw(200, 120, np.random.default_rng(1))

        def given_masks(_inputs, masks=masks, **_settings):
            for mask in masks:
                yield torch.from_numpy(mask)[None].long()

        outputs = _outputs(narrow, x, target, masks, ids, batch_size=64)
        if fit is fit_lime:
            model = SkLearnLasso(alpha=0.01)
            theirs = captum.attr.Lime(narrow.module, model, perturb_func=given_masks)
            coefficients = fit(masks, outputs, similarity_weights(x, masks, ids))
        else:
            theirs = captum.attr.KernelShap(narrow.module)
            theirs.perturb_func, theirs.interpretable_model = given_masks, DoubleLeastSquares()
            coefficients = fit(masks, outputs)
        expected = theirs.attribute(torch.from_numpy(x)[None], **arguments)[0].numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(coefficients[ids], expected, rtol=0, atol=1e-5)


# ---- what theory says ----------------------------------------------------------------------------


def test_lime_masks_are_fair_coins():
    masks = lime_masks(4000, 50, np.random.default_rng(0))
    assert masks.dtype == bool
    assert np.abs(masks.mean(axis=0) - 0.5).max() < 0.04  # five standard errors
    assert np.abs(np.corrcoef(masks.T.astype(float)) - np.eye(50)).max() < 0.1


def test_kernel_shap_masks_follow_the_shapley_kernel():
    count, number = 20_000, 12
    masks = kernel_shap_masks(count, number, np.random.default_rng(0))
    assert masks[0].all() and not masks[1].any()
    sizes = masks[2:].sum(axis=1)
    k = np.arange(1, number)
    chance = (number - 1) / (k * (number - k))
    chance /= chance.sum()
    seen = np.bincount(sizes, minlength=number + 1)
    assert seen[0] == seen[number] == 0
    np.testing.assert_allclose(seen[1:number] / (count - 2), chance, rtol=0, atol=0.02)
    for size in (1, 5):  # every segment is as likely as any other
        np.testing.assert_allclose(masks[2:][sizes == size].mean(axis=0), size / number, rtol=0, atol=0.05)


@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 5))
def test_kernel_shap_masks_of_any_number(number, count, seed):
    masks = kernel_shap_masks(count, number, np.random.default_rng(seed))
    assert masks.shape == (count, number) and masks[0].all()
    assert not masks[1:2].any()
    sizes = masks[2:].sum(axis=1)
    assert ((sizes > 0) & (sizes < number)).all()


def test_kernel_shap_of_a_linear_model_is_exact():
    subject, weight = linear_classifier()
    x = np.random.default_rng(1).standard_normal((2, 100, 2)).astype(np.float32)
    settings = Settings(n_samples=60, segment_samples=10)  # 20 segments
    maps = explain(subject, "kernel_shap", x, np.array([1, 0]), settings)
    ids = segments(100, 2, 10)
    for row, target in enumerate((1, 0)):
        shapley = np.bincount(ids.ravel(), (x[row] * weight[:, :, target]).ravel())
        np.testing.assert_allclose(maps[row], shapley[ids], rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [3, 12, 20])
def test_kernel_shap_with_fewer_samples_than_segments_still_adds_up(count):
    subject, weight = linear_classifier()
    x = np.random.default_rng(1).standard_normal((1, 100, 2)).astype(np.float32)
    map_ = explain(subject, "kernel_shap", x, np.array([0]), Settings(n_samples=count, segment_samples=10))
    total = np.sum(x[0] * weight[:, :, 0])
    assert map_[0, ::10].sum() == pytest.approx(total, abs=1e-3 * abs(total))
    rng = Settings(seeds=np.array([0])).generator(0)
    masks = kernel_shap_masks(count, 20, rng)
    outputs = subject.logits(x * masks[:, segments(100, 2, 10)])[:, 0]
    weights = np.r_[1e6, 1e6, np.ones(count - 2)]
    shortest = LinearRegression().fit(masks.astype(float), outputs.astype(float), sample_weight=weights).coef_
    np.testing.assert_allclose(map_[0, ::10].T.ravel(), shortest, rtol=0, atol=1e-4)


def test_lime_finds_the_segments_that_matter():
    subject, _ = linear_classifier(samples=100, leads=1)
    with torch.no_grad():
        subject.module.weight.zero_()[20:30, 0, 1] = 0.3
    map_ = explain(subject, "lime", np.ones((1, 100, 1), np.float32), np.array([1]), STUDY_OF_TEN)[0, :, 0]
    assert (map_[20:30] > 2).all() and not np.delete(map_, np.s_[20:30]).any()


STUDY_OF_TEN = Settings(segment_samples=10, n_samples=200)


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_perturbation_map_of_a_constant_model_is_zero(method):
    subject, _ = linear_classifier(scale=0.0)
    x = np.random.default_rng(1).standard_normal((2, 100, 2)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = explain(subject, method, x, np.array([0, 1]), Settings(n_samples=30, segment_samples=10))
    assert not maps.any()


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_perturbation_map_of_a_zero_window_and_of_one_segment(method):
    subject, _ = linear_classifier()
    x = np.zeros((1, 100, 2), np.float32)
    assert not explain(subject, method, x, np.array([0]), STUDY_OF_TEN).any()
    one, _ = linear_classifier(leads=1)
    x = np.ones((1, 100, 1), np.float32)
    for count in (2, 7):
        map_ = explain(one, method, x, np.array([0]), Settings(n_samples=count, segment_ms=1000.0))
        assert len(np.unique(map_)) == 1
    if method == "kernel_shap":
        total = np.einsum("tl,tl->", x[0], one.module.weight[:, :, 0].numpy())
        assert map_[0, 0, 0] == pytest.approx(total, rel=1e-3)


def test_lime_lasso_without_convergence_warns_nobody():
    rng = np.random.default_rng(0)
    masks = lime_masks(30, 60, rng)
    outputs = 1e9 * (masks @ rng.standard_normal(60)) + 1e9 * rng.standard_normal(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(fit_lime(masks, outputs, np.ones(30))).all()


# ---- how they are asked --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_perturbation_maps_depend_on_seeds_and_not_on_the_batch(narrow, method):
    x, targets = ours(arrays()["x"])[:3], arrays()["y"][:3]
    settings = {"n_samples": 30, "segment_samples": 96, "seeds": np.array([5, 6, 7])}
    maps = explain(narrow, method, x, targets, Settings(**settings))
    scale = np.abs(maps).max()
    for size in (1, 7, 64):
        again = explain(narrow, method, x, targets, Settings(**settings, batch_size=size))
        np.testing.assert_allclose(again, maps, rtol=0, atol=1e-4 * scale)
    alone = explain(narrow, method, x[1:2], targets[1:2], Settings(**{**settings, "seeds": np.array([6])}))
    np.testing.assert_allclose(alone[0], maps[1], rtol=0, atol=1e-4 * scale)
    for other in ({"seed": 1}, {"seeds": np.array([8, 9, 10])}):
        assert np.abs(explain(narrow, method, x, targets, Settings(**settings | other)) - maps).max() > 0


def test_segment_length_in_milliseconds_or_samples():
    subject, _ = linear_classifier()  # 100 Hz
    x = np.random.default_rng(1).standard_normal((1, 100, 2)).astype(np.float32)
    in_ms, in_samples = (
        explain(subject, "kernel_shap", x, np.array([0]), Settings(n_samples=40, **length))
        for length in ({"segment_ms": 64.0}, {"segment_samples": 6})
    )
    np.testing.assert_array_equal(in_ms, in_samples)
    shortest = explain(subject, "lime", x, np.array([0]), Settings(n_samples=40, segment_ms=1.0))
    assert shortest.shape == x.shape  # a segment has one sample at least


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_perturbation_of_twelve_leads_with_1884_segments(method):
    from models_torch import create_model

    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=2, samples=5000, leads=12, widths=(2, 2, 2, 2)).eval()
    subject = classifier(model, sampling_rate=500)
    x = np.random.default_rng(0).standard_normal((1, 5000, 12)).astype(np.float32)
    settings = Settings(n_samples=12, segment_samples=32)
    map_ = explain(subject, method, x, np.array([1]), settings)[0]
    assert map_.shape == (5000, 12)
    assert (np.ptp(map_[:32], axis=0) == 0).all()  # one number a segment
    if method == "kernel_shap":
        logits = subject.logits(np.concatenate([x, 0 * x]))[:, 1]
        coefficients = float(map_[::32].sum())
        assert coefficients == pytest.approx(
            float(logits[0] - logits[1]), abs=1e-4 * float(np.abs(logits).max())
        )


def test_perturbation_of_a_stub_classifier():
    """What the methods ask of a classifier, and nothing else: metrics and sanity checks rely on it."""
    module = Linear(np.ones((40, 1, 2)))
    subject = SimpleNamespace(
        **{"module": module, "fast": module, "samples": 40, "leads": ["II"], "classes": ["a", "b"]},
        **{"sampling_rate": 100, "name": "stub", "model_name": "linear", "device": torch.device("cpu")},
        tensor=lambda x: torch.tensor(x),
        exact_arithmetic=torch.no_grad,
    )
    map_ = explain(subject, "lime", np.ones((1, 40, 1), np.float32), np.array([0]), STUDY_OF_TEN)
    assert (map_ > 5).all()

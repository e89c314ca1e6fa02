"""Metrics of attribution maps: the study's own numbers, properties, and maps without a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from attribution.metrics import localization
from benchmarks.speed import attribution_metrics
from tests.helpers import attribution_golden as golden
from utils.errors import UsageError

LOCALIZATION = {
    "attribution_localization": localization.attribution_localization,
    "relevance_mass_accuracy": localization.relevance_mass_accuracy,
    "auc": localization.auc,
    "pointing_game": localization.pointing_game,
    "relevance_rank_accuracy": localization.relevance_rank_accuracy,
    "top_k_intersection": localization.top_k_intersection,
}
# coarse and segment-wise maps: rank, top-k and patches hang on how a sort leaves equal values
TIED = ("gradcam", "lime", "kernel_shap")


# ---- the study's own numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("metric", LOCALIZATION)
def test_localization_reproduces_the_published_study(metric):
    compared = 0
    for method, expected in golden.numbers()["metrics_quantus_0_4_3"][metric].items():
        if method in TIED and metric in ("relevance_rank_accuracy", "top_k_intersection"):
            continue
        maps = golden.ours(golden.arrays()[f"a/{method}"])
        options = {"k": localization.REFERENCE_TOP_K} if metric == "top_k_intersection" else {}
        for sign, absolute in (("signed", False), ("abs", True)):
            found = LOCALIZATION[metric](maps, golden.ground_truth(), absolute, "reference", **options)
            np.testing.assert_allclose(found, expected[sign], rtol=0, atol=1e-6, err_msg=f"{method} {sign}")
            compared += len(found)
    assert compared >= 8 * 2 * 6


# ---- localization: properties --------------------------------------------------------------------


@st.composite
def maps_and_masks(draw):
    """Maps with many ties, none zero, and masks neither empty nor full."""
    count, samples, leads = draw(st.integers(1, 4)), draw(st.integers(2, 9)), draw(st.integers(1, 3))
    size = samples * leads
    rows = [
        draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size).filter(any)) for _ in range(count)
    ]
    insides = [draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size - 1)) for _ in range(count)]
    masks = np.zeros((count, size), dtype=bool)
    for mask, inside in zip(masks, insides, strict=True):
        mask[list(inside)] = True
    shape = (count, samples, leads)
    return np.array(rows, dtype=np.float32).reshape(shape), masks.reshape(shape)


@given(maps_and_masks())
@settings(max_examples=30)
def test_localization_of_perfect_and_inverse_maps(drawn):
    masks = drawn[1]
    for name, function in LOCALIZATION.items():
        np.testing.assert_allclose(function(masks.astype(float), masks), 1.0)
        np.testing.assert_allclose(function((~masks).astype(float), masks), _worst(name, masks))


def _worst(name, masks):
    """Where more values are asked for than lie outside the mask, some lie inside whatever the map says."""
    size, total = masks.sum(axis=(1, 2)), masks[0].size
    if name == "relevance_rank_accuracy":
        k = size
    elif name == "top_k_intersection":
        k = np.ceil(localization.TOP_FRACTION * size)
    else:
        return 0.0
    return np.maximum(0, k - (total - size)) / k


@given(maps_and_masks(), st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]), st.booleans())
@settings(max_examples=30)
def test_localization_is_independent_of_scale_and_order(drawn, scale, absolute):
    maps, masks = drawn
    backwards = slice(None, None, -1)
    for function in LOCALIZATION.values():
        scores = function(maps, masks, absolute)
        np.testing.assert_allclose(function(maps * np.float32(scale), masks, absolute), scores, rtol=1e-12)
        np.testing.assert_array_equal(
            function(maps[backwards], masks[backwards], absolute)[backwards], scores
        )
        alone = [function(maps[i : i + 1], masks[i : i + 1], absolute)[0] for i in range(len(maps))]
        np.testing.assert_array_equal(alone, scores)


@given(maps_and_masks(), st.booleans())
@settings(max_examples=30)
def test_auc_equals_scikit_learn(drawn, absolute):
    maps, masks = drawn
    values = np.abs(maps) if absolute else maps
    expected = [roc_auc_score(m.ravel(), a.ravel()) for a, m in zip(values, masks, strict=True)]
    np.testing.assert_allclose(localization.auc(maps, masks, absolute), expected)


@given(maps_and_masks(), st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_localization_ties_give_the_mean_over_random_orders(drawn, seed):
    maps, masks = drawn
    rng = np.random.default_rng(seed)
    draws = 400
    noise = rng.random((draws, *maps.shape)) * 0.5  # values are whole numbers: only ties are moved
    for function in (
        localization.pointing_game,
        localization.relevance_rank_accuracy,
        localization.top_k_intersection,
    ):
        broken = np.mean([function(maps + extra, masks) for extra in noise], axis=0)
        # a mean of 400 values in [0, 1]: five standard errors
        np.testing.assert_allclose(function(maps, masks), broken, rtol=0, atol=5 * 0.5 / np.sqrt(draws))


def test_localization_of_random_maps_is_the_share_of_the_mask():
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((400, 200, 2))
    masks = rng.random((400, 200, 2)) < 0.2
    for name, function in LOCALIZATION.items():
        for absolute in (False, True):
            expected = {"auc": 0.5}.get(name, 0.2)
            assert function(maps, masks, absolute).mean() == pytest.approx(expected, abs=0.06), name


def test_pointing_game_reference_counts_any_tied_maximum():
    maps, masks = np.array([[1.0, 1.0, 0.0, 1.0]]), np.array([[True, False, False, False]])
    assert localization.pointing_game(maps, masks) == pytest.approx(1 / 3)
    assert localization.pointing_game(maps, masks, ties="reference") == 1


def test_localization_signs():
    maps, masks = np.array([[-3.0, 1.0, 0.0, 0.0]]), np.array([[True, False, False, True]])
    assert localization.relevance_mass_accuracy(maps, masks) == 0
    assert localization.relevance_mass_accuracy(maps, masks, absolute=True) == 0.75
    assert localization.pointing_game(maps, masks) == 0
    assert localization.pointing_game(maps, masks, absolute=True) == 1
    assert localization.auc(maps, masks) == pytest.approx(0.125)
    assert localization.top_k_intersection(maps, masks, k=2) == pytest.approx(0.25)  # one of two equal zeros


def test_localization_covers_all_leads():
    maps, masks = np.zeros((1, 10, 2)), np.zeros((1, 10, 2), dtype=bool)
    maps[0, 2:4, 0] = 1
    masks[0, 2:4, :] = True
    assert localization.relevance_mass_accuracy(maps, masks) == 1
    assert localization.relevance_rank_accuracy(maps, masks) == pytest.approx(0.5 + 0.5 * 2 / 18)
    flat = (maps.reshape(1, 20), masks.reshape(1, 20))
    assert all(function(*flat) == function(maps, masks) for function in LOCALIZATION.values())


def test_localization_is_nan_without_a_score():
    good, mask = np.arange(1.0, 9.0).reshape(8, 1), np.zeros((8, 1), dtype=bool)
    mask[6:] = True
    broken = np.where(good == 3, np.nan, good)
    maps = np.stack([good, np.zeros_like(good), good, good, broken, -good])
    masks = np.stack([mask, mask, ~np.ones_like(mask), np.ones_like(mask), mask, mask])
    reasons = ["", "zero map", "empty mask", "full mask", "non-finite map", ""]
    assert localization.undefined(maps, masks).tolist() == reasons
    for name, function in LOCALIZATION.items():
        for ties in localization.TIES:
            scores = function(maps, masks, ties=ties)
            of_positive = name in (
                "attribution_localization",
                "relevance_mass_accuracy",
            )
            assert np.isnan(scores).tolist() == [False, True, True, True, True, of_positive], name
            assert np.isnan(function(maps, masks, True, ties)).tolist() == [False] + [True] * 4 + [False]
            assert scores[0] == function(maps[:1], masks[:1], ties=ties)[0]  # one window works


def test_localization_refuses_what_it_cannot_score():
    maps, masks = np.ones((2, 5, 1)), np.zeros((2, 5, 1), dtype=bool)
    for wrong in (masks[:1], masks.astype(float), np.zeros((2, 1, 5), dtype=bool)):
        with pytest.raises(UsageError, match="must have one shape"):
            localization.auc(maps, wrong)
    with pytest.raises(UsageError, match="ties must be one of"):
        localization.auc(maps, masks, ties="random")
    masks[:, 0] = True
    for k in (5, -1):
        with pytest.raises(UsageError, match="between 1 and 4"):
            localization.top_k_intersection(maps, masks, k=k)
    with pytest.raises(UsageError, match="fraction"):
        localization.top_k_intersection(maps, masks, fraction=0)


def test_localization_of_tiny_and_huge_maps():
    mask = np.array([[True, False, False]])
    for scale in (1e-38, 1e38):
        maps = np.array([[2, 1, 1]], dtype=np.float32) * np.float32(scale)
        assert localization.relevance_mass_accuracy(maps, mask) == pytest.approx(0.5)


# ---- the speed benchmark -------------------------------------------------------------------------


def test_benchmark_networks_agree():
    narrow = golden.narrow_model()
    full = attribution_metrics.widened(narrow, 8)
    assert full.config["widths"] == [64, 128, 256, 512]
    x = torch.from_numpy(golden.ours(golden.arrays()["x"])[:1])
    with torch.inference_mode():
        assert torch.allclose(full(x), narrow(x), rtol=0, atol=1e-5)


def test_benchmark_sides_agree(monkeypatch):
    method = "integrated_gradients"
    for name, values in {"METHODS": (method,), "SIGNS": ("signed",), "ORDERS": ("morf",)}.items():
        monkeypatch.setattr(attribution_metrics, name, values)
    expected = golden.numbers()["metrics_quantus_0_4_3"]
    for plain in (False, True):
        region = attribution_metrics.region("narrow", plain, True, [0])
        faithfulness = attribution_metrics.faithfulness("narrow", plain, [0], [method])
        assert region["passes"] == faithfulness["passes"] == 101
        for metric, found in {
            "region_perturbation_morf": region,
            "faithfulness_correlation": faithfulness,
        }.items():
            score = expected[metric][method]["signed"][0]
            assert found["scores"] == [pytest.approx(score, abs=1e-6)]

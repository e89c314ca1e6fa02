"""Metrics that disturb the input: the study's own numbers, properties, and maps without a score."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.metrics import perturbation
from attribution.metrics.perturbation import (
    METRICS,
    SIGNS,
    PerturbationSettings,
    draw_subsets,
    measure_controls,
)
from attribution.metrics.perturbed_inputs import PerturbedInputs, grid_order, grid_plan, sliding_plan
from tests.helpers import attribution_golden as golden
from utils.errors import UsageError


def perturbation_scores(
    classifier,
    x,
    targets,
    maps,
    metrics=METRICS,
    signs=SIGNS,
    settings=None,
    seeds=None,
    controls=None,
    skip=0,
):
    """Scores of the maps of several methods by method, sign and metric."""
    prepared = PerturbedInputs(classifier, x, targets, settings or PerturbationSettings(), seeds, skip)
    controls = controls or measure_controls(prepared, metrics)
    scores = {}
    for method, values in maps.items():
        of_method = perturbation.perturbation_scores(prepared, values, controls, metrics, signs)
        scores |= {(method, *key): column for key, column in of_method.items()}
    return scores


def perturbation_score(metric, classifier, x, targets, maps, absolute=False, settings=None, seeds=None):
    """Scores of one map of each window by one metric."""
    sign = "absolute" if absolute else "signed"
    scores = perturbation_scores(classifier, x, targets, {"": maps}, [metric], [sign], settings, seeds)
    return scores["", sign, metric]


region_perturbation = partial(perturbation_score, "region_perturbation_morf")
faithfulness_correlation = partial(perturbation_score, "faithfulness_correlation")
deletion = partial(perturbation_score, "deletion")
insertion = partial(perturbation_score, "insertion")

# coarse and segment-wise maps: rank, top-k and patches hang on how a sort leaves equal values
TIED = ("gradcam", "lime", "kernel_shap")


class Toy:
    """A classifier of the metrics' kind around any function from windows to logits."""

    device = "cpu"
    sampling_rate = 100
    exact_arithmetic = staticmethod(contextlib.nullcontext)

    def __init__(self, function, multilabel=False):
        self.fast = self.module = function
        self.multilabel, self.asked = multilabel, 0

    def probabilities(self, logits):
        self.asked += len(logits)
        return torch.sigmoid(logits) if self.multilabel else torch.softmax(logits, dim=1)


def linear(weights):
    """Two classes whose logits are plus and minus a weighted sum."""
    weights = torch.from_numpy(np.asarray(weights, dtype=np.float32))

    def function(x):
        logit = (x * weights).sum(dim=(1, 2))
        return torch.stack([-logit, logit], dim=1)

    return Toy(function)


def windows(count=3, samples=120, leads=2, seed=0):
    return np.random.default_rng(seed).standard_normal((count, samples, leads)).astype(np.float32)


# ---- the study's own numbers ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    """Two golden windows and the study's network."""
    classifier = golden.classifier(golden.narrow_model())
    return classifier, golden.ours(golden.arrays()["x"])[:2], golden.arrays()["y"][:2]


def test_perturbation_reproduces_the_published_study(study):
    expected = golden.numbers()["metrics_quantus_0_4_3"]
    methods = [method for method in expected["auc"] if method not in TIED]
    maps = {method: golden.ours(golden.arrays()[f"a/{method}"])[:2] for method in methods}
    reference = PerturbationSettings.published()
    found = perturbation_scores(*study, maps, ["faithfulness_correlation"], settings=reference)
    first = [values[:1] for values in study[1:]]
    maps = {method: values[:1] for method, values in maps.items()}
    found |= perturbation_scores(study[0], *first, maps, METRICS[:2], settings=reference)
    assert len(found) == len(methods) * 2 * 3
    for (method, sign, metric), scores in found.items():
        if method == "guided_gradcam" and metric.endswith("lerf"):
            continue  # zero where Grad-CAM is: the first patches to go are equal ones
        values = expected[metric][method]["abs" if sign == "absolute" else sign][: len(scores)]
        np.testing.assert_allclose(scores, values, rtol=0, atol=1e-6, err_msg=f"{method} {sign} {metric}")


def test_patches_equal_the_published_study():
    starts = golden.numbers()["region_perturbation_patch_starts"]
    compared = 0
    for name, expected in starts.items():
        order, method, sign = name.split("/")
        if method in TIED:
            continue
        for values, places in zip(golden.ours(golden.arrays()[f"a/{method}"]), expected, strict=False):
            values = values / np.abs(values).max()
            values = np.abs(values) if sign == "abs" else values
            plan = sliding_plan(values, 16, 100, order.endswith("morf"), None)
            assert plan.patches == len(places) == 100
            rank = plan.rank[:, 0]
            assert [int(np.flatnonzero(rank == k + 1)[0]) for k in range(100)] == places
            compared += 1
    assert compared >= 6


def test_tolerance_saves_forward_passes(study):
    maps = golden.ours(golden.arrays()["a/input_gradient"])[:2]
    wanted = METRICS[:2]
    counts, scores = [], []
    for tolerance in (0, 0.0025):
        classifier = golden.classifier(golden.narrow_model())
        toy = Toy(classifier.module)
        toy.sampling_rate = 360
        options = PerturbationSettings(tolerance=tolerance)
        found = perturbation_scores(toy, *study[1:], {"m": maps}, wanted, settings=options)
        counts.append(toy.asked)
        scores.append(np.stack(list(found.values())))
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=0.015)
    assert np.abs(scores[1] - scores[0]).mean() < 0.005
    assert counts[0] == 2 + 2 * 2 * 2 * 80 and counts[1] < counts[0] / 5


# ---- which samples are removed when --------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 20), st.integers(0, 2**32 - 1), st.booleans())
def test_patches_never_overlap(leads, patch, regions, seed, descending):
    rng = np.random.default_rng(seed)
    values = rng.integers(-2, 3, (40, leads)).astype(float)
    plan = sliding_plan(values, patch, regions, descending, rng)
    ranks, sizes = np.unique(plan.rank, return_counts=True)
    assert ranks[: plan.patches].tolist() == list(range(1, plan.patches + 1))
    assert (sizes[: plan.patches] == patch).all()
    untouched = np.lib.stride_tricks.sliding_window_view(plan.rank > plan.patches, patch, axis=0).all(axis=-1)
    assert plan.patches == regions or not untouched.any()  # fewer only where no other has a place
    for rank in range(1, plan.patches + 1):  # one stretch of one lead
        time, lead = np.nonzero(plan.rank == rank)
        assert np.ptp(time) == patch - 1 and np.ptp(lead) == 0
    sums = np.array([values[plan.rank == rank].sum() for rank in range(1, plan.patches + 1)])
    free = np.lib.stride_tricks.sliding_window_view(values, patch, axis=0).sum(axis=-1)
    assert sums[0] == (free.max() if descending else free.min())
    assert (np.diff(sums) <= 0).all() if descending else (np.diff(sums) >= 0).all()


@given(st.integers(1, 3), st.integers(1, 45), st.integers(0, 2**32 - 1))
def test_patches_of_a_grid_cover_every_sample_once(leads, patch, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((40, leads))
    order = grid_order(values, patch, rng)
    plan = grid_plan(order, values.shape, patch)
    assert plan.patches == -(-40 // patch) * leads == plan.rank.max() == len(np.unique(plan.rank))
    means = [values[plan.rank == rank].mean() for rank in range(1, plan.patches + 1)]
    assert (np.diff(means) <= 1e-12).all()


def test_patches_of_equal_sum_come_in_random_order():
    first = {
        int(np.flatnonzero(sliding_plan(np.ones((50, 1)), 5, 1, True, np.random.default_rng(s)).rank == 1)[0])
        for s in range(40)
    }
    assert len(first) > 20  # no place is preferred


# ---- perturbation: properties --------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_faithfulness_of_gradient_times_input_on_a_linear_model(seed):
    weights = np.random.default_rng(seed).standard_normal((60, 2))
    x, targets = windows(2, 60, 2, seed % 1000), np.array([0, 1])
    maps = x * np.stack([-weights, weights])
    toy = linear(weights)
    np.testing.assert_allclose(faithfulness_correlation(toy, x, targets, maps), 1, atol=1e-5)
    np.testing.assert_allclose(faithfulness_correlation(toy, x, targets, -maps), -1, atol=1e-5)
    assert (faithfulness_correlation(toy, x, targets, maps, absolute=True) < 0.9).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_perturbation_prefers_the_true_order_of_a_linear_model(seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((60, 1))
    x, targets = windows(3, 60, 1, seed % 1000), np.array([0, 1, 1])
    ground_truth = x * np.stack([-weights, weights, weights])
    toy = linear(weights * 0.2)
    options = PerturbationSettings(patch_samples=1, tolerance=0, coverage=1.0)
    scores = {}
    for name, maps in {"true": ground_truth, "other": rng.standard_normal(ground_truth.shape)}.items():
        found = perturbation_scores(toy, x, targets, {"m": maps}, signs=["signed"], settings=options)
        scores[name] = {metric: found["m", "signed", metric] for metric in METRICS}
    best, other = scores["true"], scores["other"]
    for metric, sign in {
        "region_perturbation_morf": 1,
        "region_perturbation_lerf": -1,
        "deletion": -1,
        "insertion": 1,
    }.items():
        assert (sign * best[metric] >= sign * other[metric] - 1e-6).all(), metric
    assert (best["deletion"] < 0).all() and (best["insertion"] > 0).all()


def test_region_perturbation_by_hand():
    """Patches of two samples, the first two removed one after the other."""
    x = np.array([[[4.0], [0.0], [0.0], [2.0], [0.0], [0.0]]], dtype=np.float32)
    toy = linear(np.full((6, 1), 0.5))
    maps = np.array([[[5.0], [4.0], [0.0], [3.0], [2.0], [0.0]]])
    options = PerturbationSettings(patch_samples=2, regions=2, tolerance=0)
    p = [1 / (1 + np.exp(-logit)) for logit in (6.0, 2.0, 0.0)]  # softmax of (-f, f): sigmoid of 2 f
    expected = (0 + p[0] - p[1]) / 2 / 2 + (p[0] - p[1] + p[0] - p[2]) / 2 / 2
    found = region_perturbation(toy, x, np.array([1]), maps, settings=options)
    assert found == pytest.approx(expected, abs=1e-6)


def test_deletion_and_insertion_of_random_maps_are_near_zero():
    toy = linear(np.random.default_rng(5).standard_normal((80, 1)) * 0.3)
    x, targets = windows(60, 80, 1), np.ones(60, dtype=int)
    maps = np.random.default_rng(6).standard_normal(x.shape)
    for function in (deletion, insertion):
        scores = function(toy, x, targets, maps, settings=PerturbationSettings(tolerance=0))
        assert abs(scores.mean()) < 4 * scores.std() / np.sqrt(60)
        assert scores.std() > 0


def test_perturbation_is_independent_of_other_windows(study):
    maps = {m: golden.ours(golden.arrays()[f"a/{m}"])[:2] for m in ("saliency", "lime")}
    options = PerturbationSettings(runs=10, random_orders=1)
    seeds = np.array([7, 3])
    together = perturbation_scores(*study, maps, settings=options, seeds=seeds)
    classifier, x, targets = study
    for row in (1, 0):
        part = slice(row, row + 1)
        small = PerturbationSettings(runs=10, random_orders=1, batch_size=7)
        lime = {"lime": maps["lime"][part]}
        alone = perturbation_scores(
            classifier, x[part], targets[part], lime, settings=small, seeds=seeds[part]
        )
        for key, score in alone.items():
            np.testing.assert_allclose(score, together[key][part], rtol=0, atol=1e-5)
    other = perturbation_scores(
        classifier,
        x[:1],
        targets[:1],
        {"lime": maps["lime"][:1]},
        settings=options,
        seeds=np.array([8]),
    )
    name = ("lime", "signed", "faithfulness_correlation")
    assert other[name] != pytest.approx(together[name][:1])  # the key is the seed


def test_reference_stream_continues_over_batches():
    toy, x, targets = linear(np.linspace(-1, 1, 60)[:, None]), windows(3, 60, 1), np.array([0, 1, 1])
    maps = windows(3, 60, 1, 9)
    options = PerturbationSettings.published(patch_samples=4, runs=5)
    whole = perturbation_scores(toy, x, targets, {"m": maps}, settings=options)
    rest = perturbation_scores(toy, x[1:], targets[1:], {"m": maps[1:]}, settings=options, skip=1)
    for key in (("m", sign, "faithfulness_correlation") for sign in ("signed", "absolute")):
        np.testing.assert_allclose(rest[key], whole[key][1:], rtol=0, atol=1e-6)


@given(st.permutations([(0, 3), (1, 2), (3, 5), (4, 1)]))
@settings(max_examples=10)
def test_reference_stream_is_independent_of_order(parts):
    options = PerturbationSettings.published(runs=3, seed=8)
    stream = np.random.RandomState(8)
    wanted = [[stream.choice(40, 4, replace=False) for _ in range(3)] for _ in range(8)]
    for skip, count in parts:
        x, targets = np.zeros((count, 20, 2)), np.zeros(count, int)
        prepared = PerturbedInputs(linear(np.ones((20, 2))), x, targets, options, np.arange(count), skip)
        found = list(draw_subsets(prepared))
        np.testing.assert_array_equal(found, wanted[skip : skip + count])


def test_perturbation_evaluates_maps_without_negative_values_once():
    x, targets = windows(2), np.array([0, 1])
    maps = np.abs(windows(2, seed=4))
    weights = np.random.default_rng(1).standard_normal((120, 2)) * 0.1
    wanted, options = ["region_perturbation_morf", "deletion"], PerturbationSettings(tolerance=0)
    toy = linear(weights)
    both = perturbation_scores(toy, x, targets, {"m": maps}, wanted, settings=options)
    mixed = np.stack([maps[0], maps[1] * np.sign(x[1])])
    toys = [linear(weights), linear(weights)]
    perturbation_scores(toys[0], x, targets, {"m": maps}, wanted, ["absolute"], settings=options)
    perturbation_scores(toys[1], x, targets, {"m": mixed}, wanted, settings=options)
    assert toy.asked == toys[0].asked < toys[1].asked
    for metric in wanted:
        np.testing.assert_array_equal(both["m", "signed", metric], both["m", "absolute", metric])


def test_perturbation_is_nan_without_a_score(study):
    classifier, x, targets = study
    maps = np.stack([np.zeros_like(x[0]), np.ones_like(x[0])])
    found = perturbation_scores(classifier, x, targets, {"m": maps}, settings=PerturbationSettings(runs=5))
    for (_, _, metric), scores in found.items():
        even = metric == "faithfulness_correlation"  # nothing to correlate with
        assert np.isnan(scores).tolist() == [True, even], metric
    broken = np.full_like(x, np.nan)
    found = perturbation_scores(classifier, x, targets, {"m": broken}, settings=PerturbationSettings(runs=5))
    assert all(np.isnan(scores).all() for scores in found.values())
    still = Toy(lambda x: torch.zeros(len(x), 2))
    maps = windows(2)
    assert np.isnan(faithfulness_correlation(still, maps, np.array([0, 1]), maps)).all()


def test_perturbation_of_multilabel_models_uses_the_sigmoid():
    weights = torch.linspace(-1, 1, 60)[None, :, None]

    def function(x):
        return torch.stack([(x * weights).sum(dim=(1, 2)), torch.full((len(x),), 9.0)], dim=1)

    x = windows(2, 60, 1)
    maps = x * weights.numpy()
    targets = np.array([0, 0])
    independent = region_perturbation(Toy(function, multilabel=True), x, targets, maps)
    exclusive = region_perturbation(Toy(function), x, targets, maps)
    assert (independent > 0.05).all() and (np.abs(exclusive) < 0.1).all()


def test_linear_fill_interpolates_between_remaining_samples():
    seen = []

    def function(x):
        seen.append(x.clone())
        return x.sum(dim=(1, 2))[:, None].repeat(1, 2)

    x = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    x[0, 2] = 50
    maps = np.zeros((1, 6, 2))
    maps[0, 2, 0], maps[0, 0, 1], maps[0, 5, 1] = 9, 8, 7
    options = PerturbationSettings(patch_samples=1, regions=3, tolerance=0, fill="linear")
    region_perturbation(Toy(function), x, np.array([0]), maps, settings=options)
    after = torch.cat(seen)[-1].numpy()  # the largest three are gone
    np.testing.assert_allclose(after[:, 0], [0, 2, 4, 6, 8, 10])
    np.testing.assert_allclose(after[:, 1], [3, 3, 50, 7, 9, 9])
    everything = PerturbationSettings(patch_samples=6, coverage=1.0, tolerance=0, fill="linear")
    seen.clear()
    region_perturbation(Toy(function), x, np.array([0]), maps, settings=everything)
    assert not torch.cat(seen)[-1].any()


def test_patch_durations_become_samples():
    x, targets = windows(1, 100, 1), np.array([0])
    toy = linear(np.ones((100, 1)) * 0.1)
    maps = windows(1, 100, 1, 3)
    toy.sampling_rate = 250
    by_time = region_perturbation(toy, x, targets, maps, settings=PerturbationSettings(patch_ms=40))
    by_samples = region_perturbation(toy, x, targets, maps, settings=PerturbationSettings(patch_samples=10))
    assert by_time == by_samples


def test_controls_are_shared_by_methods(study):
    classifier, x, targets = study
    maps = {m: golden.ours(golden.arrays()[f"a/{m}"])[:2] for m in ("saliency", "deep_lift")}
    options = PerturbationSettings(runs=5, random_orders=1, tolerance=0.05)
    controls = measure_controls(PerturbedInputs(classifier, x, targets, options))
    found = perturbation_scores(classifier, x, targets, maps, settings=options, controls=controls)
    direct = perturbation_scores(classifier, x, targets, maps, settings=options)
    for key, scores in direct.items():
        np.testing.assert_allclose(found[key], scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"patch_ms": 0}, "patch_ms"),
        ({"patch_ms": float("inf")}, "patch_ms"),
        ({"patch_samples": -1}, "patch_samples"),
        ({"coverage": 0}, "coverage"),
        ({"subset_ratio": 1.0}, "subset_ratio"),
        ({"fill": "noise"}, "unknown fill 'noise'"),
        ({"runs": 2}, "at least 3"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": float("inf")}, "tolerance"),
        ({"random_orders": 0}, "random_orders"),
    ],
)
def test_perturbation_settings_refuse_bad_values(options, text):
    with pytest.raises(UsageError, match=text):
        PerturbationSettings(**options)


def test_perturbation_refuses_what_does_not_fit():
    toy, x, targets = linear(np.ones((120, 2))), windows(), np.array([0, 1, 1])
    with pytest.raises(UsageError, match="did you mean 'deletion'"):
        perturbation_scores(toy, x, targets, {"m": x}, ["deletoin"])
    with pytest.raises(UsageError, match="maps are"):
        perturbation_scores(toy, x, targets, {"m": x[:2]})
    with pytest.raises(UsageError, match="targets"):
        region_perturbation(toy, x, targets[:2], x)
    with pytest.raises(UsageError, match="unknown metric"):
        perturbation_score("region_perturbation_most", toy, x, targets, x)
    with pytest.raises(UsageError, match="longer than the windows"):
        region_perturbation(toy, x, targets, x, settings=PerturbationSettings(patch_samples=121))
    with pytest.raises(UsageError, match="seeds"):
        region_perturbation(toy, x, targets, x, seeds=np.array([0, 1, -1]))

"""Scores of attribution maps by perturbing the input: whether relevant samples change the model's output.

============================  ============================================================================
``region_perturbation_morf``  mean loss of probability while the most relevant patches are removed, one
                              after another, until half of the input is gone; higher is better
``region_perturbation_lerf``  the same, least relevant first; lower is better
``faithfulness_correlation``  correlation, over random subsets of a tenth of the samples, of the relevance
                              of the subset with the loss of logit when it is removed; higher is better
``deletion``                  area under the probability while all patches of a fixed grid are removed, most
                              relevant first, less the mean area of random orders; lower is better
``insertion``                 the same while they are put back into an empty input; higher is better
============================  ============================================================================

The last two are 0 for a map that does no better than chance on this window and model. A removed sample
becomes zero, the mean of the standardized signal (with the study's standardization that of the window), or
with ``fill="linear"`` lies on the straight line between its remaining neighbors: zeroing makes steps that no
ECG has. The score is NaN where the map is zero everywhere or holds NaN or infinity; for the correlation also
where the map is constant or the model's output does not change.

Random numbers come from the seed and the window's own seed, so that no score depends on the batch;
the orders and subsets of a window are the same for all methods.

Sources: region perturbation, Samek et al. 2017 (doi:10.1109/TNNLS.2016.2599820); faithfulness correlation,
Bhatt et al. 2020 (doi:10.24963/ijcai.2020/417); deletion and insertion, Petsiuk et al. 2018
(arXiv:1806.07421); on ECGs, Suh et al. 2024 (doi:10.1016/j.compbiomed.2024.109088).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attribution.metrics.perturbed_inputs import PerturbationSettings as PerturbationSettings
from attribution.metrics.perturbed_inputs import PerturbedInputs, Plan, grid_order, grid_plan, sliding_plan
from utils.errors import UsageError, nearest

METRICS = (
    "region_perturbation_morf",
    "region_perturbation_lerf",
    "faithfulness_correlation",
    "deletion",
    "insertion",
)
SIGNS = ("signed", "absolute")
_AGAINST_RANDOM = ("deletion", "insertion")
_TIES, _SUBSETS, _ORDERS = 1, 2, 3  # streams of random numbers of a window


@dataclass(frozen=True)
class Controls:
    """What does not depend on a map: measured once per window for all methods.

    ``probability`` (N,): probability of the target for the unperturbed window.
    ``losses`` (N, runs): loss of logit for each random subset; without columns where no metric
        needs it.
    ``random_area`` (N,): mean area under the probability for random orders; NaN where no metric
        needs it.
    """

    probability: np.ndarray
    losses: np.ndarray
    random_area: np.ndarray


def measure_controls(windows: PerturbedInputs, metrics: Sequence[str] = METRICS) -> Controls:
    """Measure what the scores of all maps of these windows are relative to."""
    logit, probability = windows.whole()
    losses = np.empty((len(windows), 0))
    if "faithfulness_correlation" in metrics:
        perturbed = [windows.without_subsets(row, subset) for row, subset in enumerate(draw_subsets(windows))]
        losses = logit[:, None] - np.array(perturbed)
    area = np.full(len(windows), np.nan)
    if set(_AGAINST_RANDOM) & set(metrics):
        area = _random_area(windows, probability)
    return Controls(probability, losses, area)


def perturbation_scores(
    windows: PerturbedInputs,
    maps: np.ndarray,
    controls: Controls,
    metrics: Sequence[str] = METRICS,
    signs: Sequence[str] = SIGNS,
) -> dict[tuple[str, str], np.ndarray]:
    """Scores of one map of each window by sign and metric; `controls` serve the maps of all methods.

    A map without negative values is evaluated once for both signs.

    Shapes: maps (N, T, leads) -> (N,) each.
    """
    for word, known in [*((m, METRICS) for m in metrics), *((s, SIGNS) for s in signs)]:
        if word not in known:
            raise UsageError(f"unknown metric or sign '{word}': {nearest(word, known)}")
    maps = np.asarray(maps)
    if maps.shape != tuple(windows.x.shape):
        raise UsageError(f"maps are {maps.shape}, the windows {tuple(windows.x.shape)}")
    scores = _removal_scores(windows, maps, metrics, signs, controls)
    if "faithfulness_correlation" in metrics:
        scores |= _faithfulness(windows, maps, signs, controls)
    return scores


def _removal_scores(
    windows: PerturbedInputs,
    maps: np.ndarray,
    metrics: Sequence[str],
    signs: Sequence[str],
    controls: Controls,
) -> dict[tuple[str, str], np.ndarray]:
    """Scores by all metrics but the faithfulness correlation, in common forward passes."""
    curves = [metric for metric in metrics if metric != "faithfulness_correlation"]
    scores = {(sign, metric): np.full(len(maps), np.nan) for sign in signs for metric in curves}
    # a map without negative values is the same for both signs
    twins = (maps.min(axis=(1, 2)) >= 0) & (len(set(signs)) == 2)
    jobs = [
        (sign, metric, row)
        for sign, metric in scores
        for row in np.flatnonzero(_defined(maps)).tolist()
        if sign == "signed" or not twins[row]
    ]
    if not jobs:
        return scores
    plans = [
        _plan(metric, _prepared(maps[row], sign, windows.settings), windows, int(windows.seeds[row]))
        for sign, metric, row in jobs
    ]
    areas = windows.areas(plans, [row for _, _, row in jobs], controls.probability)
    for (sign, metric, row), area in zip(jobs, areas, strict=True):
        if metric in _AGAINST_RANDOM:
            scores[sign, metric][row] = area - controls.random_area[row]
        else:
            scores[sign, metric][row] = controls.probability[row] - area
    if twins.any():
        for metric in curves:
            scores["absolute", metric][twins] = scores["signed", metric][twins]
    return scores


def _plan(metric: str, values: np.ndarray, windows: PerturbedInputs, seed: int) -> Plan:
    settings, patch = windows.settings, windows.patch
    generator = np.random.default_rng([settings.seed, seed, _TIES])
    if metric in _AGAINST_RANDOM:
        order = grid_order(values, patch, generator)
        # inserting from one end leaves what removing from the other end leaves
        return grid_plan(order if metric == "deletion" else order[::-1], values.shape, patch)
    regions = settings.regions or max(1, round(settings.coverage * values.size / patch))
    ties = None if settings.reference else generator
    return sliding_plan(values, patch, regions, metric == "region_perturbation_morf", ties)


def _faithfulness(
    windows: PerturbedInputs, maps: np.ndarray, signs: Sequence[str], controls: Controls
) -> dict[tuple[str, str], np.ndarray]:
    scores = {(sign, "faithfulness_correlation"): np.full(len(maps), np.nan) for sign in signs}
    defined = _defined(maps)
    for row, subsets in enumerate(draw_subsets(windows)):
        for (sign, _), target in scores.items():
            if defined[row]:
                values = _prepared(maps[row], sign, windows.settings).ravel()
                target[row] = _correlation(values[subsets].sum(axis=1), controls.losses[row])
    return scores


def _defined(maps: np.ndarray) -> np.ndarray:
    return np.isfinite(maps).all(axis=(1, 2)) & maps.any(axis=(1, 2))


def _prepared(values: np.ndarray, sign: str, settings: PerturbationSettings) -> np.ndarray:
    # the reference's division rounds, and so can make ties
    values = values / np.abs(values).max() if settings.reference else values.astype(np.float64)
    return np.abs(values) if sign == "absolute" else values


def _random_area(windows: PerturbedInputs, probability: np.ndarray) -> np.ndarray:
    """Mean area under the probability for random orders; of inserting and of deleting, as these mirror."""
    settings = windows.settings
    shape = (windows.x.shape[1], windows.x.shape[2])
    patches = -(-shape[0] // windows.patch) * shape[1]
    plans, rows = [], []
    for row, seed in enumerate(windows.seeds.tolist()):
        generator = np.random.default_rng([settings.seed, seed, _ORDERS])
        for _ in range(settings.random_orders):
            plans.append(grid_plan(generator.permutation(patches), shape, windows.patch))
            rows.append(row)
    areas = windows.areas(plans, rows, probability)
    return areas.reshape(len(windows), -1).mean(axis=1)


def draw_subsets(windows: PerturbedInputs) -> Iterator[np.ndarray]:
    """Draw the random subsets of the faithfulness correlation, (runs, size) for each window."""
    settings, samples = windows.settings, windows.x[0].numel()
    size = max(1, int(settings.subset_ratio * samples))
    if settings.reference:
        yield from _stream_of_reference(samples, size, settings, windows.skip, windows.skip + len(windows))
        return
    for seed in windows.seeds.tolist():
        generator = np.random.default_rng([settings.seed, seed, _SUBSETS])
        draws = [generator.choice(samples, size, replace=False, shuffle=False) for _ in range(settings.runs)]
        yield np.stack(draws).astype(np.int64)


# State of the reference's stream after some numbers of windows, so that thousands of windows, a few at a time
# and once per method, do not draw all subsets before theirs again.
_STATES: dict[tuple[int, ...], dict[int, dict[str, Any]]] = {}


def _stream_of_reference(
    samples: int, size: int, settings: PerturbationSettings, begin: int, end: int
) -> Iterator[np.ndarray]:
    """Subsets of the windows from `begin` to before `end`, of a stream that starts at window 0."""
    states = _STATES.setdefault((settings.seed, settings.runs, samples, size), {})
    stream = np.random.RandomState(settings.seed)
    known = max((window for window in states if window <= begin), default=0)
    if known:
        stream.set_state(states[known])
    for window in range(known, end):
        subsets = [stream.choice(samples, size, replace=False) for _ in range(settings.runs)]
        if window == end - 1:
            states[end] = stream.get_state(legacy=False)
        if window >= begin:
            yield np.stack(subsets)


def _correlation(relevance: np.ndarray, loss: np.ndarray) -> float:
    """Pearson correlation; NaN where one of the two does not vary by more than rounding."""
    scale = np.abs(relevance).max()
    if np.ptp(relevance) <= 1e-9 * scale or np.ptp(loss) <= 1e-6:
        return np.nan
    relevance, loss = (relevance - relevance.mean()) / scale, loss - loss.mean()
    return float(relevance @ loss / np.sqrt((relevance @ relevance) * (loss @ loss)))

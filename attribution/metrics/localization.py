"""Scores of attribution maps against a ground truth: a mask of the samples that should matter.

All scores cover every sample of every lead of a window and are independent of the scale of the map. An
undefined score is NaN, never 0; `undefined` gives the reason:

========================  ================================================================================
``non-finite map``        the map holds NaN or infinity
``zero map``              the map is zero everywhere
``empty mask``            no sample belongs to the ground truth
``full mask``             every sample belongs to the ground truth
``no positive value``     signed map without one, where only these count (`relevance_mass_accuracy`)
========================  ================================================================================

Sources: attribution localization, Kohlbrenner et al. 2020 (doi:10.1109/IJCNN48605.2020.9206975); relevance
mass and rank accuracy, Arras et al. 2022 (doi:10.1016/j.inffus.2021.11.008); pointing game, Zhang et al. 2018
(doi:10.1007/s11263-017-1059-x); top-k intersection, Theiner et al. 2022 (doi:10.1109/WACV51458.2022.00155);
as used on ECGs by Suh et al. 2024 (doi:10.1016/j.compbiomed.2024.109088).

Coarse and segment-wise maps (Grad-CAM, LIME) hold many equal values. With ``ties="expected"`` a score is its
expected value over random orders of equal values. ``ties="reference"`` follows the published study: any tied
maximum may hit in the pointing game, and NumPy's unstable sort decides the rank of equal values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata

from utils.errors import UsageError

TIES = ("expected", "reference")
REFERENCE_TOP_K = 1000
# Of the samples of the mask: half-way between the pointing game (one sample) and the rank accuracy (all of
# them). A fixed k, as in the reference, exceeds small masks, so that even a perfect map scores below 1.
TOP_FRACTION = 0.25
_VALUES_AT_ONCE = 4_000_000  # keeps the float64 work arrays below some 100 MB


def undefined(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Reasons for windows without a localization score; empty for the others."""
    maps, masks = _flat(maps, masks)
    return _reasons(maps, masks)


def _flat(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.shape != masks.shape or maps.ndim not in (2, 3) or masks.dtype != bool:
        raise UsageError(
            f"maps {maps.shape} and masks {masks.shape} ({masks.dtype}) must have one shape, (windows, "
            "samples, leads) or (windows, samples), and the masks must be bool"
        )
    return maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)


def _reasons(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    reasons = np.full(len(maps), "", dtype="U17")
    reasons[masks.all(axis=1)] = "full mask"
    reasons[~masks.any(axis=1)] = "empty mask"
    reasons[~maps.any(axis=1)] = "zero map"
    reasons[~np.isfinite(maps).all(axis=1)] = "non-finite map"
    return reasons


def _metric(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Make a metric ``f(maps, masks, absolute=False, ties="expected", **options)`` of a function.

    The function gets values and masks (windows, samples) of windows that have a score, and ties.
    """

    @functools.wraps(function)
    def metric(
        maps: np.ndarray, masks: np.ndarray, absolute: bool = False, ties: str = "expected", **options: Any
    ) -> np.ndarray:
        if ties not in TIES:
            raise UsageError(f"ties must be one of {', '.join(TIES)}, not '{ties}'")
        maps, masks = _flat(maps, masks)
        scores = np.full(len(maps), np.nan)
        rows = np.flatnonzero(_reasons(maps, masks) == "")
        chunk = max(1, _VALUES_AT_ONCE // max(1, maps.shape[1]))
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            values = maps[part]
            if ties == "reference":  # the division rounds, and so can make ties
                values = values / np.abs(values).max(axis=1, keepdims=True)
            scores[part] = function(np.abs(values) if absolute else values, masks[part], ties, **options)
        return scores

    return metric


@_metric
def relevance_mass_accuracy(values: np.ndarray, inside: np.ndarray, ties: str) -> np.ndarray:
    """Share of the relevance inside the mask; negative values of a signed map count as zero."""
    # scaled before the sum: tiny float32 values must not vanish, huge ones not overflow
    values = np.maximum(values.astype(np.float64), 0)
    top = values.max(axis=1, keepdims=True)
    values = np.divide(values, top, out=np.zeros_like(values), where=top > 0)
    total = values.sum(axis=1)
    part = np.where(inside, values, 0).sum(axis=1)
    return np.divide(part, total, out=np.full(len(total), np.nan), where=total > 0)


# The study's name of the same number; published tables use both.
attribution_localization = relevance_mass_accuracy


@_metric
def auc(values: np.ndarray, inside: np.ndarray, ties: str) -> np.ndarray:
    """ROC AUC of the map as a detector of the samples of the mask; ties count half."""
    size = inside.sum(axis=1).astype(np.float64)
    ranks = np.where(inside, rankdata(values, axis=1), 0).sum(axis=1)
    return (ranks - size * (size + 1) / 2) / (size * (inside.shape[1] - size))


@_metric
def pointing_game(values: np.ndarray, inside: np.ndarray, ties: str) -> np.ndarray:
    """Whether the largest value lies inside the mask."""
    largest = values == values.max(axis=1, keepdims=True)
    hits = (largest & inside).sum(axis=1)
    return (hits > 0).astype(float) if ties == "reference" else hits / largest.sum(axis=1)


@_metric
def relevance_rank_accuracy(values: np.ndarray, inside: np.ndarray, ties: str) -> np.ndarray:
    """Share of the largest values, as many as the mask has samples, that lie inside the mask."""
    return _top_share(values, inside, inside.sum(axis=1), ties)


@_metric
def top_k_intersection(
    values: np.ndarray, inside: np.ndarray, ties: str, k: int = 0, fraction: float = TOP_FRACTION
) -> np.ndarray:
    """Share of the k largest values that lie inside the mask; k is a fraction of the mask unless given."""
    samples, size = values.shape[1], inside.sum(axis=1)
    if k and not 0 < k < samples:
        raise UsageError(f"k is {k}: it must lie between 1 and {samples - 1}, one less than the samples")
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction is {fraction}: it must be above 0 and at most 1")
    return _top_share(values, inside, np.full_like(size, k) if k else np.ceil(fraction * size), ties)


def _top_share(values: np.ndarray, inside: np.ndarray, k: np.ndarray, ties: str) -> np.ndarray:
    """Share of the k (N,) largest values of each row that lie inside."""
    k = k.astype(int)
    if ties == "reference":
        hits = [hit[np.argsort(row)[-n:]].sum() for row, hit, n in zip(values, inside, k, strict=True)]
        return np.array(hits, dtype=float) / k
    last = np.sort(values, axis=1)[np.arange(len(k)), values.shape[1] - k][:, None]  # the k-th largest value
    above, equal = values > last, values == last
    places = k - above.sum(axis=1)  # left for the values that equal the k-th
    drawn = places * (equal & inside).sum(axis=1) / equal.sum(axis=1)
    return ((above & inside).sum(axis=1) + drawn) / k

"""Scores of positions against masks, some of whose samples are not annotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from preprocessing.targets import IGNORED
from training.tasks.decoding import stretches
from utils.rpeak_scores import match_peaks


def inside(positions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether the samples at some positions are annotated, (M,) of bool."""
    if not len(known):
        return np.zeros(len(positions), bool)
    samples = np.clip(np.rint(positions), 0, len(known) - 1).astype(np.int64)
    return known[samples]


def count_found(
    expected: np.ndarray, found: np.ndarray, known: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives and false negatives, (3,), and found minus expected of the pairs.

    What is found where nothing is annotated does not count, unless it is paired with what is.
    """
    pairs = match_peaks(expected, found, reach)
    lonely = np.ones(len(found), bool)
    lonely[pairs[:, 1]] = False
    false = int((lonely & inside(found, known)).sum())
    counts = np.array([len(pairs), false, len(expected) - len(pairs)])
    return counts, found[pairs[:, 1]] - expected[pairs[:, 0]]


def peaks_of_mask(mask: np.ndarray) -> np.ndarray:
    """Middle of each stretch of ones that does not end at what is not annotated, (T,) -> (M,)."""
    found = stretches(mask == 1)
    if not len(found):
        return np.empty(0)
    edged = np.r_[IGNORED, mask, IGNORED]
    whole = (edged[found[:, 0]] != IGNORED) & (edged[found[:, 1] + 2] != IGNORED)
    return found[whole].mean(axis=1)


def f1_of(counts: np.ndarray) -> np.ndarray:
    """F1 of counts (..., 3); NaN where there is nothing to find and nothing found."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    whole = 2 * tp + fp + fn
    return np.divide(2 * tp, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def intervals_of_f1(
    counts: np.ndarray,
    patients: Sequence[Any] | np.ndarray,
    resamples: int,
    seed: int,
    names: Sequence[str],
) -> dict[str, Any]:
    """95 % intervals, over patients, of the F1 of each column and of the mean of those that are defined.

    ``names``: of the columns, and of the mean, which comes last. None where no resample has a score.

    Shapes: counts (N, K, 3), patients (N,).
    """
    owners = np.unique(np.asarray(patients), return_inverse=True)[1]
    by_patient = np.zeros((owners.max() + 1, *counts.shape[1:]))
    np.add.at(by_patient, owners, counts)
    share = np.full(len(by_patient), 1 / len(by_patient))
    drawn = np.random.default_rng(seed).multinomial(len(by_patient), share, resamples)
    scores = f1_of(np.tensordot(drawn, by_patient, 1))
    known = np.isfinite(scores).sum(axis=1)
    means = np.divide(
        np.nan_to_num(scores).sum(axis=1), known, out=np.full(len(scores), np.nan), where=known > 0
    )
    columns = np.column_stack([scores, means]).T
    bounds = (_bounds(column[np.isfinite(column)]) for column in columns)
    return {
        "intervals": dict(zip(names, bounds, strict=True)),
        "level": 0.95,
        "resamples": resamples,
        "seed": seed,
        "patients": len(by_patient),
        "records": len(counts),
    }


def _bounds(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}

"""Tests of differences between models: over seeds and folds, and when many are made at once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import stats

from utils.errors import UsageError


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values so that the chance of any false rejection among them stays below the level.

    Shapes: p_values (M,) -> (M,).

    Holm, Scandinavian Journal of Statistics 6 (1979), https://www.jstor.org/stable/4615733.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def corrected_t_test(differences: np.ndarray, test_ratio: float, level: float = 0.95) -> dict[str, Any]:
    """Corrected resampled t-test of the mean difference of two recipes over seeds or folds.

    Runs share training records, so that their differences are not independent and the variance of their
    mean is larger than 1/R of theirs: the correction adds ``test_ratio``.

    ``differences``: of two recipes in each run, R of them.
    ``test_ratio``: number of test records divided by that of training records.

    Returns ``mean``, ``low`` and ``high`` (its interval), ``deviation`` (of the differences), ``t``,
    ``degrees``, ``p`` (two-sided) and ``runs``.

    Shapes: differences (R,).

    Nadeau and Bengio, Machine Learning 52 (2003), doi:10.1023/A:1024068626366.
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < 2:
        raise UsageError("a t-test needs the differences of at least two runs: train more seeds or folds")
    if not test_ratio >= 0:
        raise UsageError(f"test_ratio must be at least 0, not {test_ratio}")
    mean, deviation = float(d.mean()), float(d.std(ddof=1))
    error = np.sqrt(1 / len(d) + test_ratio) * deviation
    degrees = len(d) - 1
    t = mean / error if error else float(np.copysign(np.inf, mean)) if mean else 0.0
    half = float(stats.t.ppf((1 + level) / 2, degrees) * error)
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "deviation": deviation,
        "t": float(t),
        "degrees": degrees,
        "p": float(2 * stats.t.sf(abs(t), degrees)),
        "runs": len(d),
    }


def bootstrap_p_value(differences: np.ndarray) -> np.ndarray:
    """Two-sided p-value of a difference from its resampled values: how rarely they lie beyond 0.

    The observed value counts as one more resample, so that no p-value is 0.

    Shapes: differences (resamples, ...) -> (...).

    Davison and Hinkley, Bootstrap Methods and their Application (1997), doi:10.1017/CBO9780511802843.
    """
    d = np.asarray(differences)
    beyond = np.minimum((d <= 0).sum(axis=0), (d >= 0).sum(axis=0))
    return np.minimum(2 * (beyond + 1) / (len(d) + 1), 1.0)


def detectable_difference(
    standard_error: np.ndarray | float, power: float = 0.8, alpha: float = 0.05
) -> np.ndarray:
    """Smallest true difference that a two-sided test at level ``alpha`` finds with probability ``power``.

    Shapes: standard_error (...) -> (...).
    """
    return (stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) * np.asarray(standard_error, np.float64)


def rank_stability(scores: np.ndarray) -> dict[str, Any]:
    """How far the ranking of recipes depends on the run (the seed or fold) that is looked at.

    ``scores``: of R runs of M recipes; higher is better.

    Returns ``tau`` (Kendall's tau between the rankings of each two runs: ``mean``, ``low``, ``high``, and
    ``undefined`` pairs, where all recipes of a run tie), ``best`` (number of the recipe with the highest
    mean), ``stays_best`` (share of runs in which none is above it) and ``ranks`` (mean rank of each
    recipe, from 1).

    Shapes: scores (R, M).

    Kendall, Biometrika 30 (1938), doi:10.1093/biomet/30.1-2.81; with ties, tau-b.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or min(scores.shape) < 2:
        raise UsageError(f"ranks need at least two runs of two recipes, not scores of shape {scores.shape}")
    taus = np.array([stats.kendalltau(a, b).statistic for a, b in itertools.combinations(scores, 2)])
    known = taus[np.isfinite(taus)]
    best = int(np.argmax(scores.mean(axis=0)))
    tau = (known.mean(), known.min(), known.max()) if known.size else (np.nan,) * 3
    return {
        "tau": dict(zip(("mean", "low", "high"), map(float, tau), strict=True))
        | {"undefined": int(taus.size - known.size)},
        "best": best,
        "stays_best": float((scores[:, best] >= scores.max(axis=1)).mean()),
        "ranks": stats.rankdata(-scores, axis=1).mean(axis=0).tolist(),
    }

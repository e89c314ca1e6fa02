"""Numbers of a report, class by class: curves, confusion, calibration, threshold sweep, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.bootstrap import finite_interval, resampled_sums
from utils.classification_scores import classification_scores, decision_scores, table_counts
from utils.scorer import ECE_BINS

SWEEP = np.linspace(0, 1, 101)
HISTOGRAM_BINS = 20
_CURVE_POINTS = 160  # of a curve that is drawn; its area is computed from all records
SCORES = ("roc_auc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1")
_SWEPT = {
    "precision": "ppv",
    "recall": "sensitivity",
    "specificity": "specificity",
    "f1": "f1",
    "accuracy": "accuracy",
}


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Points of the ROC curve of one class, ``x`` false and ``y`` true positive rate; labels (N,)."""
    hits, alarms = _cumulated(labels, scores)
    x, y = alarms / max(alarms[-1], 1), hits / max(hits[-1], 1)
    return _thinned(np.append(0, x), np.append(0, y))


def pr_curve(labels: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Points of the precision-recall curve of one class, ``x`` recall and ``y`` precision; labels (N,)."""
    hits, alarms = _cumulated(labels, scores)
    x, y = hits / max(hits[-1], 1), hits / np.maximum(hits + alarms, 1)
    return _thinned(np.append(0, x), np.append(y[0], y))


def _cumulated(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives when the threshold falls from score to score."""
    order = np.argsort(-scores, kind="stable")
    positive, last = labels[order].astype(bool), np.append(np.diff(scores[order]) != 0, True)
    return np.cumsum(positive)[last], np.cumsum(~positive)[last]


def _thinned(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """A curve with few points, spread evenly along its length."""
    length = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, length[-1], _CURVE_POINTS)
    keep = np.unique(np.concatenate([[0, len(x) - 1], np.searchsorted(length, wanted).clip(0, len(x) - 1)]))
    return {"x": x[keep].round(4).tolist(), "y": y[keep].round(4).tolist()}


def class_scores(
    labels: np.ndarray,
    decisions: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Counts of the two by two table of each class, and its scores with intervals over patients.

    Shapes: labels, decisions and probabilities (N, C), patients (N,).
    """
    counts = table_counts(labels, decisions)
    scores = classification_scores(
        labels, decisions, probabilities, patients=patients, resamples=resamples, seed=seed
    )
    result = []
    for column in range(labels.shape[1]):
        row: dict[str, Any] = {name: int(values[column]) for name, values in counts.items()}
        for name in SCORES:
            keys = ("classes", "classes_low", "classes_high")
            row[name] = interval(*(np.asarray(scores[name][key])[column] for key in keys))
        result.append(row)
    return result


def interval(point: Any, low: Any, high: Any) -> dict[str, float | None]:
    """A value with its bounds as JSON values; None where one is not defined."""
    named = {"point": float(point), "low": float(low), "high": float(high)}
    return {name: value if np.isfinite(value) else None for name, value in named.items()}


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> list[list[dict[str, Any]]]:
    """Of each class the bins of the reliability diagram that hold a record.

    Bins are those of the ECE. ``mean`` probability, ``observed`` share with its interval over patients, and
    ``count``.

    Shapes: labels (N, C), probabilities (N, C), patients (N,).
    """
    numbers = np.minimum((probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    result = []
    for column in range(labels.shape[1]):
        inside = numbers[:, column, None] == np.arange(ECE_BINS)
        p, y = probabilities[:, column, None], labels[:, column, None]
        parts = np.stack([inside, inside * y], axis=-1).astype(np.float64)
        drawn = resampled_sums(parts, patients, resamples, seed)
        count, hits = parts.sum(axis=0).T
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = finite_interval(drawn[..., 1] / drawn[..., 0])
        means = (inside * p).sum(axis=0) / np.maximum(count, 1)
        result.append(
            [
                {
                    "mean": round(float(means[b]), 5),
                    "count": int(count[b]),
                    "observed": interval(hits[b] / count[b], low[b], high[b]),
                }
                for b in np.flatnonzero(count)
            ]
        )
    return result


def threshold_sweep(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, list[float | None]]]:
    """Scores of each class at every threshold of `SWEEP`; a record reaches a threshold that it equals.

    Shapes: labels (N, C), probabilities (N, C).
    """
    y, result = labels.astype(bool), []
    for column in range(labels.shape[1]):
        # as exactly as the probabilities are stored: float32(0.7) reaches the threshold 0.7
        reached = probabilities[:, column, None] >= SWEEP.astype(probabilities.dtype)
        counts = table_counts(np.repeat(y[:, column, None], len(SWEEP), axis=1), reached)
        scores = decision_scores(**counts)
        result.append({title: rounded(scores[name]) for title, name in _SWEPT.items()})
    return result


def rounded(values: np.ndarray, digits: int = 5) -> list[float | None]:
    """Numbers as JSON values; None where one is not finite."""
    return [round(float(v), digits) if np.isfinite(v) else None for v in values]


def histograms(probabilities: np.ndarray, right: np.ndarray) -> list[dict[str, list[int]]]:
    """How many right and wrong answers of each class have which probability.

    Shapes: probabilities (N, C), right (N, C).
    """
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)

    def count(values: np.ndarray) -> list[int]:
        return np.histogram(values, edges)[0].tolist()

    columns = zip(probabilities.T, right.T, strict=True)
    return [{"right": count(p[ok]), "wrong": count(p[~ok])} for p, ok in columns]


def most_probable(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Confusion of the most probable class, over the records that have exactly one class.

    Shapes: labels (N, C), probabilities (N, C).
    """
    single = labels.sum(axis=1) == 1
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(matrix, (labels[single].argmax(axis=1), probabilities[single].argmax(axis=1)), 1)
    return {"records": int(single.sum()), "matrix": matrix.tolist()}

"""Metrics of one set of predictions under record weights: sorted once, then cheap for any weights.

`utils.metrics` is what other modules call; the bootstrap calls this with a thousand different weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from utils.auc import sort_scores, weighted_auprc, weighted_roc_auc
from utils.errors import DataError

ECE_BINS = 15
LOG_LOSS_END = 1e-7  # one confident error must not make the mean infinite
REFERENCE_THRESHOLDS = np.linspace(0, 1, 10)


def check_labels(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check that labels and scores fit together.

    Shapes: labels (N, C), scores (N, C) -> labels (N, C), scores (N, C).
    """
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or y.shape != s.shape:
        raise DataError(
            f"labels {y.shape} and scores {s.shape} must both be (records, classes): give one column a class"
        )
    if not y.size:
        raise DataError(f"no records or no classes to evaluate: labels have shape {y.shape}")
    bad = ~np.isfinite(s)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{bad.sum()} scores are NaN or infinite, the first in record {row}, class {column}: "
            "look for NaN in the signals or for a training run that diverged"
        )
    if y.dtype != bool and not np.isin(y, (0, 1)).all():
        raise DataError(f"labels must be 0 or 1, found {np.setdiff1d(y, (0, 1))[:3].tolist()}")
    return y.astype(bool), s


def check_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check labels and scores as `check_labels` does, and that the scores are probabilities.

    Shapes: labels (N, C), probabilities (N, C) -> labels (N, C), probabilities (N, C).
    """
    y, p = check_labels(labels, probabilities)
    if p.min() < 0 or p.max() > 1:
        raise DataError(
            f"probabilities must lie in [0, 1], found {p.min():.4g} to {p.max():.4g}: "
            "logits were probably given; apply a sigmoid (or softmax) first"
        )
    return y, p


def patient_numbers(patient_ids: np.ndarray, records: int) -> np.ndarray:
    """Number the patients from 0; one number for each record."""
    ids = np.asarray(patient_ids)
    if ids.shape != (records,):
        raise DataError(f"patient_ids has shape {ids.shape}, needed is one id for each of {records} records")
    return np.unique(ids, return_inverse=True)[1]


class Scorer:
    """Metrics of one set of predictions under record weights; what does not depend on weights is done once.

    A weight is how often a record counts (a bootstrap draws records several times or not at all). Every
    method takes `weights`, integers of shape (N,), and treats them exactly as repeated records; those named
    ``class_`` give an array of shape (C,).

    ``labels`` (N, C): 0 or 1.
    ``probabilities`` (N, C): values in [0, 1].
    ``thresholds`` (C,): A label is predicted where its probability is at least the threshold of its
        class.
    """

    def __init__(
        self,
        labels: np.ndarray,
        probabilities: np.ndarray,
        thresholds: float | Sequence[float] | np.ndarray = 0.5,
    ):
        self.labels, self.probabilities = check_probabilities(labels, probabilities)
        self.thresholds = _check_thresholds(thresholds, self.labels.shape[1])

    @cached_property
    def _sorted(self) -> dict[str, np.ndarray]:
        return sort_scores(self.labels, self.probabilities)

    @cached_property
    def _decisions(self) -> dict[str, np.ndarray]:
        predicted = self.probabilities >= self.thresholds
        return {
            "predicted": predicted.astype(np.float64),
            "hit": (predicted & self.labels).astype(np.float64),
            "right": (predicted == self.labels).astype(np.float64),
        }

    def class_roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Area under the ROC curve of each class; ties count one half."""
        return weighted_roc_auc(self._sorted, weights)

    def class_auprc(self, weights: np.ndarray) -> np.ndarray:
        """Average precision of each class: precision at every recall step, without interpolation."""
        return weighted_auprc(self._sorted, weights)

    def class_accuracy(self, weights: np.ndarray) -> np.ndarray:
        """Share of records whose decision is right, for each class."""
        return weights @ self._decisions["right"] / weights.sum()

    def class_f1(self, weights: np.ndarray) -> np.ndarray:
        """F1 of each class at `thresholds`."""
        positives = weights @ self.labels.astype(np.float64)
        predicted, hits = weights @ self._decisions["predicted"], weights @ self._decisions["hit"]
        return np.where(positives > 0, 2 * hits / np.maximum(positives + predicted, 1), np.nan)

    def class_ece(self, weights: np.ndarray) -> np.ndarray:
        """Expected calibration error of each class (binary, 15 bins of equal width)."""
        classes = self.labels.shape[1]
        gap = weights[:, None] * (self.probabilities - self.labels)
        sums = np.bincount(self._ece_bins, gap.ravel(), minlength=classes * ECE_BINS)
        return np.abs(sums).reshape(classes, ECE_BINS).sum(axis=1) / weights.sum()

    @cached_property
    def _ece_bins(self) -> np.ndarray:
        bins = np.minimum((self.probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
        return (bins + np.arange(self.labels.shape[1]) * ECE_BINS).ravel()

    @cached_property
    def _proper_scores(self) -> dict[str, np.ndarray]:
        distance = np.abs(self.probabilities - self.labels)
        return {"brier": distance**2, "log_loss": -np.log1p(-np.minimum(distance, 1 - LOG_LOSS_END))}

    def class_brier(self, weights: np.ndarray) -> np.ndarray:
        """Brier score of each class: mean squared difference of probability and label.

        Brier, Monthly Weather Review 78 (1950).
        """
        return weights @ self._proper_scores["brier"] / weights.sum()

    def class_log_loss(self, weights: np.ndarray) -> np.ndarray:
        """Binary cross-entropy of each class in nats; probabilities are clipped at 1e-7 from 0 and 1."""
        return weights @ self._proper_scores["log_loss"] / weights.sum()

    @cached_property
    def _sweep(self) -> dict[str, np.ndarray]:
        """Lowering one threshold over all scores: how each step changes the sums of precision and recall."""
        n, classes = self.labels.shape
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        hits = np.cumsum(np.take_along_axis(self.labels, order, axis=1), axis=1)
        precision = hits / np.arange(1, classes + 1)
        recall = hits / np.maximum(self.labels.sum(axis=1, keepdims=True), 1)
        scores = np.take_along_axis(self.probabilities, order, axis=1).ravel()
        steps = np.argsort(-scores, kind="stable")
        scores = scores[steps]
        return {
            "row": np.repeat(np.arange(n), classes)[steps],
            "precision": np.diff(precision, axis=1, prepend=0).ravel()[steps],
            "recall": np.diff(recall, axis=1, prepend=0).ravel()[steps],
            "first": np.tile(np.arange(classes) == 0, n)[steps],
            "last_of_tie": np.append(np.flatnonzero(np.diff(scores)), scores.size - 1),
        }

    def fmax(self, weights: np.ndarray) -> float:
        """Exact Fmax: the best F over every threshold, from record-averaged precision and recall.

        One threshold serves all classes. Precision is averaged over the records for which something is
        predicted, recall over the records that have a label.

        Shapes: weights (N,).

        Radivojac et al., Nature Methods 10 (2013), doi:10.1038/nmeth.2340.
        """
        s = self._sweep
        w, last = weights[s["row"]], s["last_of_tie"]
        counted = np.cumsum(w * s["first"])[last]
        precision = np.cumsum(w * s["precision"])[last] / np.maximum(counted, 1)
        labeled = weights[self.labels.any(axis=1)].sum()
        recall = np.cumsum(w * s["recall"])[last] / max(labeled, 1)
        return float(np.nanmax(_f_value(precision, recall))) if labeled else float("nan")

    @cached_property
    def _reference_records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hits, predictions and labels of each record at the ten thresholds: (N, 10), (N, 10), (N, 1)."""
        decisions = [self.probabilities >= t for t in REFERENCE_THRESHOLDS]
        hits = np.stack([(d & self.labels).sum(axis=1) for d in decisions], axis=1)
        predicted = np.stack([d.sum(axis=1) for d in decisions], axis=1)
        return hits, predicted, self.labels.sum(axis=1, keepdims=True)

    def reference_curve(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Record-averaged precision, recall and F of the IMLE-Net reference at its ten global thresholds."""
        hits, predicted, true = self._reference_records
        counted, labeled = weights @ (predicted > 0), weights @ (true > 0)
        precision = weights @ (hits / np.maximum(predicted, 1)) / np.maximum(counted, 1)
        precision = np.where(counted > 0, precision, np.nan)
        recall = weights @ (hits / np.maximum(true, 1)) / np.maximum(labeled, 1)
        recall = np.where(labeled > 0, recall, np.nan)
        f1 = _f_value(precision, recall)
        return {"thresholds": REFERENCE_THRESHOLDS, "precision": precision, "recall": recall, "f1": f1}

    def max_f1_reference(self, weights: np.ndarray) -> float:
        """Best F of `reference_curve`: the IMLE-Net paper's "max F1", chosen on the labels it reports."""
        f1 = self.reference_curve(weights)["f1"]
        return float(np.nanmax(f1)) if np.isfinite(f1).any() else float("nan")


def _check_thresholds(thresholds: float | Sequence[float] | np.ndarray, classes: int) -> np.ndarray:
    t = np.asarray(thresholds, dtype=np.float64)
    if t.ndim == 0:
        t = np.full(classes, float(t))
    if t.shape != (classes,) or not ((t >= 0) & (t <= 1)).all():
        raise DataError(
            f"thresholds must be {classes} values in [0, 1], got {np.asarray(thresholds).tolist()}"
        )
    return t


def _f_value(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Harmonic mean; NaN where both are 0 or one is NaN."""
    total = precision + recall
    return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), np.nan)

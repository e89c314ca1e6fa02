"""Scores of decisions, class by class, from the four counts of a one-against-rest table."""

from __future__ import annotations

import numpy as np

from utils.errors import DataError
from utils.metrics import roc_auc
from utils.scorer import Scorer


def table_counts(labels: np.ndarray, decisions: np.ndarray) -> dict[str, np.ndarray]:
    """Count true and false positives and negatives of each class.

    Parameters
    ----------
    labels, decisions : numpy.ndarray
        Shape (N, C), 0 or 1; or class numbers (N,), the same number of classes C in both.

    Returns
    -------
    dict
        ``tp``, ``fp``, ``fn``, ``tn``, shape (C,).

    Raises
    ------
    DataError
        If the shapes differ, or a value is neither 0 nor 1.
    """
    labels, decisions = np.asarray(labels), np.asarray(decisions)
    if labels.ndim == 1 and decisions.ndim == 1 and labels.size and labels.dtype.kind in "iu":
        classes = np.arange(max(labels.max(), decisions.max()) + 1)
        labels, decisions = labels[:, None] == classes, decisions[:, None] == classes
    if labels.shape != decisions.shape or labels.ndim != 2:
        raise DataError(f"labels have shape {labels.shape}, decisions {decisions.shape}: both must be (N, C)")
    for name, values in (("labels", labels), ("decisions", decisions)):
        if not np.isin(values, (0, 1)).all():
            raise DataError(f"{name} must be 0 or 1: apply thresholds to probabilities first")
    y, d = labels.astype(bool), decisions.astype(bool)
    counts = {"tp": y & d, "fp": ~y & d, "fn": y & ~d, "tn": ~y & ~d}
    return {name: values.sum(axis=0) for name, values in counts.items()}


def decision_scores(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each class from its counts.

    Parameters
    ----------
    tp, fp, fn, tn : numpy.ndarray
        True and false positives, false and true negatives, of one shape; weighted counts may be fractions.

    Returns
    -------
    dict of str to numpy.ndarray
        ``sensitivity``, ``specificity``, ``ppv``, ``npv``, ``accuracy``, ``balanced_accuracy``, ``f1``,
        ``jaccard``, ``fowlkes_mallows``, ``mcc`` (Matthews), ``informedness``, ``markedness``, the rates of
        errors ``fnr``, ``fpr``, ``fdr`` and ``for``, the likelihood ratios ``plr`` and ``nlr``, ``dor`` (odds
        ratio) and ``prevalence_threshold``. NaN where one is not defined; a ratio to 0 is infinite.
    """
    tp, fp, fn, tn = (np.asarray(values, np.float64) for values in (tp, fp, fn, tn))
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        ppv, npv = tp / (tp + fp), tn / (tn + fn)
        fpr = 1 - specificity
        plr, nlr = sensitivity / fpr, (1 - sensitivity) / specificity
        root = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": ppv,
            "npv": npv,
            "accuracy": (tp + tn) / (tp + fp + fn + tn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "jaccard": tp / (tp + fp + fn),
            "fowlkes_mallows": np.sqrt(ppv * sensitivity),
            "mcc": (tp * tn - fp * fn) / root,
            "informedness": sensitivity + specificity - 1,
            "markedness": ppv + npv - 1,
            "fnr": 1 - sensitivity,
            "fpr": fpr,
            "fdr": 1 - ppv,
            "for": 1 - npv,
            "plr": plr,
            "nlr": nlr,
            "dor": plr / nlr,
            "prevalence_threshold": np.sqrt(fpr) / (np.sqrt(sensitivity) + np.sqrt(fpr)),
        }


def classification_scores(
    labels: np.ndarray,
    decisions: np.ndarray,
    probabilities: np.ndarray | None = None,
    class_weights: np.ndarray | None = None,
) -> dict[str, dict[str, object]]:
    """All scores of a classifier: of each class, and their mean.

    Parameters
    ----------
    labels, decisions : numpy.ndarray
        As `table_counts` takes them.
    probabilities : numpy.ndarray, optional
        Shape (N, C); adds ``roc_auc`` and ``auprc`` (average precision).
    class_weights : numpy.ndarray, optional
        Shape (C,), above 0; of the mean over classes. Equal without.

    Returns
    -------
    dict
        For each score ``classes`` (C,) and ``macro``, the weighted mean over the classes in which it is
        finite (NaN where it is in none) divided by the mean weight of all classes.

    Raises
    ------
    DataError
        If shapes differ, or weights are not positive.
    """
    scores = decision_scores(**table_counts(labels, decisions))
    classes = len(scores["f1"])
    weights = np.ones(classes) if class_weights is None else np.asarray(class_weights, np.float64)
    if weights.shape != (classes,) or not (weights > 0).all():
        raise DataError(f"class_weights must be {classes} numbers above 0, not {np.asarray(class_weights)}")
    if probabilities is not None:
        y = np.asarray(labels)
        y = y if y.ndim == 2 else np.eye(classes, dtype=int)[y]
        scores["roc_auc"] = roc_auc(y, probabilities)
        scores["auprc"] = Scorer(y, np.asarray(probabilities)).class_auprc(np.ones(len(y)))
    weights = weights / weights.mean()
    result: dict[str, dict[str, object]] = {}
    for name, values in scores.items():
        finite = np.isfinite(values)
        mean = float((values * weights)[finite].mean()) if finite.any() else float("nan")
        result[name] = {"classes": values, "macro": mean}
    return result

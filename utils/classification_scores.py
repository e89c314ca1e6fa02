"""Scores of decisions, class by class, from the four counts of a one-against-rest table."""

from __future__ import annotations

import numpy as np

from utils.bootstrap import finite_interval, patient_draws, patient_sums
from utils.errors import DataError
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
    cells = _cells(*_columns(labels, decisions)).sum(axis=0)
    return dict(zip(("tp", "fp", "fn", "tn"), cells, strict=True))


def _columns(labels: np.ndarray, decisions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and decisions as one column of bool a class, checked."""
    labels, decisions = np.asarray(labels), np.asarray(decisions)
    if labels.ndim == 1 and decisions.ndim == 1 and labels.size and labels.dtype.kind in "iu":
        classes = np.arange(max(labels.max(), decisions.max()) + 1)
        labels, decisions = labels[:, None] == classes, decisions[:, None] == classes
    if labels.shape != decisions.shape or labels.ndim != 2:
        raise DataError(f"labels have shape {labels.shape}, decisions {decisions.shape}: both must be (N, C)")
    for name, values in (("labels", labels), ("decisions", decisions)):
        if values.dtype != bool and not ((values == 0) | (values == 1)).all():
            raise DataError(f"{name} must be 0 or 1: apply thresholds to probabilities first")
    return labels.astype(bool), decisions.astype(bool)


def _cells(y: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Which of the four cells of the table a record is in: (N, 4, C) of tp, fp, fn and tn."""
    return np.stack([y & d, ~y & d, y & ~d, ~y & ~d], axis=1)


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
    patients: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
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
    patients : numpy.ndarray, optional
        Shape (N,): patient of each record; adds 95 % intervals from a bootstrap over patients.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        For each score ``classes`` (C,) and ``macro``, the weighted mean over the classes in which it is
        finite (NaN where it is in none) divided by the mean weight of all classes. With ``patients`` also
        ``classes_low``, ``classes_high``, ``macro_low`` and ``macro_high``, over the resamples in which the
        score is finite.

    Raises
    ------
    DataError
        If shapes differ, or weights are not positive.
    """
    y, d = _columns(labels, decisions)
    classes = y.shape[1]
    weights = np.ones(classes) if class_weights is None else np.asarray(class_weights, np.float64)
    if weights.shape != (classes,) or not (weights > 0).all():
        raise DataError(f"class_weights must be {classes} numbers above 0, not {np.asarray(class_weights)}")
    weights = weights / weights.mean()
    scorer = None if probabilities is None else Scorer(y, np.asarray(probabilities))
    cells = _cells(y, d)
    scores = _scores(cells.sum(axis=0), scorer, np.ones(len(y), np.int64))
    result: dict[str, dict[str, object]] = {
        name: {"classes": values, "macro": float(_macro(values, weights))} for name, values in scores.items()
    }
    if patients is None:
        return result
    times, owners = patient_draws(len(y), patients, resamples, seed)
    counts = np.tensordot(times, patient_sums(cells, owners), 1)  # (resamples, 4, C)
    drawn = decision_scores(*np.moveaxis(counts, 1, 0))
    if scorer is not None:
        areas = [_areas(scorer, row[owners]) for row in times]
        drawn |= {name: np.stack([area[name] for area in areas]) for name in areas[0]}
    for name, values in drawn.items():
        low, high = finite_interval(np.column_stack([_macro(values, weights), values]))
        result[name] |= {"macro_low": float(low[0]), "macro_high": float(high[0])}
        result[name] |= {"classes_low": low[1:], "classes_high": high[1:]}
    return result


def _scores(counts: np.ndarray, scorer: Scorer | None, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each class from counts (4, C), and areas under curves where there are probabilities."""
    return decision_scores(*counts) | ({} if scorer is None else _areas(scorer, weights))


def _areas(scorer: Scorer, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {"roc_auc": scorer.class_roc_auc(weights), "auprc": scorer.class_auprc(weights)}


def _macro(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the classes (last axis) in which a score is finite; NaN where it is in none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    total = (np.where(finite, values, 0) * weights).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)

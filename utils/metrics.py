"""The one metrics module, for both frameworks: NumPy labels and probabilities in, plain numbers out.

Three rules hold everywhere. Scores are probabilities: logits are refused, because thresholds mean nothing on
them. A class without positive or without negative records has no ROC-AUC: its value is NaN, it is listed, and
it is left out of the macro mean; no other number ever takes its place. Thresholds are handed in: nothing here
chooses anything on the labels that are being reported, except the two "max" F values, which say so.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.auc import sort_scores, weighted_roc_auc
from utils.errors import DataError
from utils.files import jsonable
from utils.scorer import Scorer, check_labels, check_probabilities


def macro(values: np.ndarray) -> float:
    """Mean over the classes that are defined (not NaN); NaN where none is; values (C,)."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, NaN where it is undefined; ties count one half.

    ``scores``: probabilities, logits or any other finite score that ranks records.

    Shapes: labels (N, C), scores (N, C) -> (C,).

    Hanley and McNeil, Radiology 143 (1982), doi:10.1148/radiology.143.1.7063747.
    """
    y, s = check_labels(labels, scores)
    return weighted_roc_auc(sort_scores(y, s), np.ones(len(y), dtype=np.int64))


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray, least: int = 5) -> np.ndarray:
    """Threshold of each class that gives the best F1; for validation records, never for reported ones.

    A label is predicted where its probability is at least the threshold, which lies halfway between two
    neighboring scores, so that rounding cannot flip a record. Of several equally good ones the highest is
    taken. A class with fewer positive records than ``least`` gets 0.5: what one or two of them say is chance.

    Shapes: labels (N, C), probabilities (N, C) -> (C,).
    """
    labels, probabilities = check_probabilities(labels, probabilities)
    thresholds = np.full(labels.shape[1], 0.5)
    for column in np.flatnonzero(labels.sum(axis=0) >= max(least, 1)):
        order = np.argsort(-probabilities[:, column], kind="stable")
        y, p = labels[order, column], probabilities[order, column]
        last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
        f1 = 2 * np.cumsum(y)[last] / (last + 1 + y.sum())
        best = int(np.argmax(f1))
        score, lower = p[last[best]], p[last[best + 1]] if best + 1 < len(last) else 0.0
        thresholds[column] = (score + lower) / 2
    return thresholds


def _by_class(names: Sequence[str], values: np.ndarray) -> dict[str, Any]:
    return dict(zip(names, values.tolist(), strict=True))


def _at_thresholds(
    y: np.ndarray, p: np.ndarray, names: Sequence[str], thresholds: Sequence[float] | np.ndarray | None
) -> dict[str, Any]:
    """Metrics of the decisions at given thresholds, all None without any; y (N, C), p (N, C)."""
    keys = ("mean_accuracy", "class_accuracy", "macro_f1", "class_f1")
    if thresholds is None:
        return {"thresholds": None, **{f"{key}_at_thresholds": None for key in keys}}
    scorer, once = Scorer(y, p, thresholds), np.ones(len(y), dtype=np.int64)
    accuracy, f1 = scorer.class_accuracy(once), scorer.class_f1(once)
    values = (float(accuracy.mean()), _by_class(names, accuracy), macro(f1), _by_class(names, f1))
    named = {f"{key}_at_thresholds": value for key, value in zip(keys, values, strict=True)}
    return {"thresholds": _by_class(names, scorer.thresholds), **named}


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float] | np.ndarray | None = None,
) -> dict[str, Any]:
    """Every metric of one set of predictions.

    Parameters
    ----------
    labels : array_like, shape (N, C)
        0 or 1.
    probabilities : array_like, shape (N, C)
        Values in [0, 1].
    classes : sequence of str
        Names of the C classes, in column order.
    thresholds : array_like, shape (C,), optional
        Thresholds chosen on other (validation) records; without them what needs them is None.

    Returns
    -------
    dict
        Plain JSON values. Undefined numbers are None and their classes are in ``undefined_classes``.
        ``fmax`` and ``max_f1_reference`` pick their one threshold on the labels given here, as published
        values of that name do. ``reference`` repeats the IMLE-Net reference's results under its own names.

    Raises
    ------
    DataError
        Wrong shapes, labels other than 0 and 1, or scores that are not probabilities.
    """
    names = [str(c) for c in classes]
    at_half = Scorer(labels, probabilities)
    y, p = at_half.labels, at_half.probabilities
    if len(names) != y.shape[1] or len(set(names)) != len(names):
        raise DataError(f"{len(names)} class names ({len(set(names))} different) for {y.shape[1]} columns")
    once = np.ones(len(y), dtype=np.int64)
    auc, auprc = at_half.class_roc_auc(once), at_half.class_auprc(once)
    accuracy, f1, ece = at_half.class_accuracy(once), at_half.class_f1(once), at_half.class_ece(once)
    brier, log_loss = at_half.class_brier(once), at_half.class_log_loss(once)
    curve, max_f1 = at_half.reference_curve(once), at_half.max_f1_reference(once)
    by_class = functools.partial(_by_class, names)
    result = {
        "records": len(y),
        "class_counts": by_class(y.sum(axis=0)),
        "undefined_classes": [name for name, value in zip(names, auc, strict=True) if np.isnan(value)],
        "macro_roc_auc": macro(auc),
        "class_roc_auc": by_class(auc),
        "macro_auprc": macro(auprc),
        "class_auprc": by_class(auprc),
        "mean_accuracy": float(accuracy.mean()),
        "class_accuracy": by_class(accuracy),
        "macro_f1_at_0.5": macro(f1),
        "class_f1_at_0.5": by_class(f1),
        **_at_thresholds(y, p, names, thresholds),
        "fmax": at_half.fmax(once),
        "max_f1_reference": max_f1,
        "ece": macro(ece),
        "class_ece": by_class(ece),
        "brier": macro(brier),
        "class_brier": by_class(brier),
        "log_loss": macro(log_loss),
        "class_log_loss": by_class(log_loss),
        "top1_accuracy": None,
        "reference": {
            "roc_score": macro(auc),
            "mean_acc": float(accuracy.mean()),
            "accuracy": accuracy,
            "class_auc": auc,
            "F1 score (Max)": max_f1,
            "class_precision_recall_f1": curve,
        },
    }
    if (y.sum(axis=1) == 1).all():
        result["top1_accuracy"] = float((p.argmax(axis=1) == y.argmax(axis=1)).mean())
    return jsonable(result)

"""Tables of an evaluation: per-class report, confusion, threshold sweeps, nearest errors, folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from preprocessing import Dataset

_NUMBERS = ("precision", "recall", "f1-score")


def _rates(labels: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 along the first axis; 0 where there is nothing to divide by."""
    labels, answers = np.asarray(labels, bool), np.asarray(answers, bool)
    hits = (labels & answers).sum(axis=0)
    rates = {}
    for name, total in (
        ("precision", answers.sum(axis=0)),
        ("recall", labels.sum(axis=0)),
        ("f1-score", (answers.sum(axis=0) + labels.sum(axis=0)) / 2),
    ):
        rates[name] = np.where(total > 0, hits / np.maximum(total, 0.5), 0.0)
    return rates


def classification_report(labels: np.ndarray, answers: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """One row a class, then the mean over the classes and the mean weighted by their records.

    Shapes: labels (N, C), answers (N, C).
    """
    rates, support = _rates(labels, answers), np.asarray(labels, np.int64).sum(axis=0)
    table = pd.DataFrame({"label": list(classes), **rates, "support": support})
    weights = support / max(support.sum(), 1)
    rows = [
        {"label": "macro avg", **{name: rates[name].mean() for name in _NUMBERS}},
        {"label": "weighted avg", **{name: (rates[name] * weights).sum() for name in _NUMBERS}},
    ]
    return pd.concat([table, pd.DataFrame(rows).assign(support=support.sum())], ignore_index=True)


def confusion(labels: np.ndarray, answers: np.ndarray, classes: Sequence[str], kind: str) -> pd.DataFrame:
    """Records by label and answer: a matrix where classes exclude each other, else four counts a class.

    Shapes: labels (N, C), answers (N, C).
    """
    labels, answers = np.asarray(labels, np.int64), np.asarray(answers, np.int64)
    names = pd.DataFrame({"label": list(classes)})
    if kind == "multiclass":
        return names.join(pd.DataFrame(labels.T @ answers, columns=list(classes)))
    counts = {
        "true_negative": ((1 - labels) * (1 - answers)).sum(axis=0),
        "false_positive": ((1 - labels) * answers).sum(axis=0),
        "false_negative": (labels * (1 - answers)).sum(axis=0),
        "true_positive": (labels * answers).sum(axis=0),
    }
    return names.assign(**counts)


def threshold_sweep(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Scores of one class at the thresholds 0, 0.01, ..., 1.

    Shapes: labels (N,), probabilities (N,).
    """
    thresholds = np.linspace(0, 1, 101).round(2)
    answers = probabilities[:, None] >= thresholds
    present = np.broadcast_to(np.asarray(labels, bool)[:, None], answers.shape)
    rates = _rates(present, answers)
    accuracy = (present == answers).mean(axis=0)
    columns = {"precision": rates["precision"], "recall": rates["recall"], "f1": rates["f1-score"]}
    return pd.DataFrame({"threshold": thresholds, **columns, "accuracy": accuracy})


def errors_near(
    dataset: Dataset, column: int, probabilities: np.ndarray, threshold: float, positive: bool, most: int = 50
) -> pd.DataFrame:
    """False positives or negatives of a class, the nearest to its threshold first.

    Shapes: probabilities (N,).
    """
    labels = np.asarray(dataset.targets[:, column], bool)
    wrong = np.flatnonzero((labels != positive) & ((probabilities >= threshold) == positive))
    margin = np.abs(probabilities - threshold)
    rows = wrong[np.argsort(margin[wrong], kind="stable")][:most]
    return pd.DataFrame(
        {
            "ecg_id": dataset.ids[rows],
            "patient_id": dataset.patients[rows],
            "y_true": labels[rows].astype(int),
            "y_prob": probabilities[rows].round(6),
            "threshold": round(float(threshold), 6),
            "margin": margin[rows].round(6),
        }
    )


def fold_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a fold, then mean and standard deviation over the folds, in the same columns."""
    table = pd.DataFrame(rows).round(6)
    numbers = [name for name in table.select_dtypes("number").columns if name not in ("fold", "best_epoch")]
    values = table[numbers].astype(float)
    spread = values.std(ddof=1) if len(table) > 1 else values.iloc[0] * np.nan
    summary = pd.DataFrame([values.mean(), spread]).round(6)
    summary.insert(0, "fold", ["mean", "SD"])
    whole = pd.concat([table.astype({"fold": str}).astype(object), summary.astype(object)], ignore_index=True)
    return whole[list(table.columns)]

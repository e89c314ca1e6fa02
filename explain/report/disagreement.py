"""Records on which model and label disagree: errors, and labels that may be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.metrics import macro, roc_auc

FAILURE_COLUMNS = ("ecg_id", "patient", "class", "label", "probability", "threshold", "margin")
_LISTED = 5  # of each class and kind of error


def margins(probabilities: np.ndarray, thresholds: np.ndarray, exclusive: bool) -> tuple[Any, np.ndarray]:
    """The bar that each probability has to reach, and how far it is above it, (N, C) both.

    The threshold of the class; where classes exclude each other, the largest probability of the others.
    """
    p = probabilities.astype(np.float64)
    if not exclusive:
        bars = np.broadcast_to(thresholds, p.shape)
        return bars, p - bars
    first, second = np.sort(p, axis=1)[:, ::-1][:, :2].T if p.shape[1] > 1 else (p[:, 0], 0 * p[:, 0])
    top = np.arange(p.shape[1]) == p.argmax(axis=1)[:, None]
    bars = np.where(top, second[:, None], first[:, None])
    return bars, p - bars


def failures(
    ids: np.ndarray,
    patients: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    thresholds: np.ndarray,
    classes: list[str],
    exclusive: bool,
) -> list[dict[str, Any]]:
    """Every false negative and false positive, class by class, the farthest from its threshold first.

    Shapes: ids (N,), patients (N,), labels, probabilities and decisions (N, C), thresholds (C,).
    """
    bars, margin = margins(probabilities, thresholds, exclusive)
    rows: list[dict[str, Any]] = []
    for column, name in enumerate(classes):
        wrong = np.flatnonzero(labels[:, column].astype(bool) != decisions[:, column])
        order = wrong[np.argsort(-np.abs(margin[wrong, column]), kind="stable")]
        rows += [
            dict(
                zip(
                    FAILURE_COLUMNS,
                    (
                        ids[row].item(),
                        patients[row].item(),
                        name,
                        int(labels[row, column]),
                        round(float(probabilities[row, column]), 6),
                        round(float(bars[row, column]), 6),
                        round(float(margin[row, column]), 6),
                    ),
                    strict=True,
                )
            )
            for row in order
        ]
    return rows


def error_examples(rows: list[dict[str, Any]], classes: list[str]) -> list[dict[str, Any]]:
    """Of each class the false negatives and positives farthest from, and nearest to, the threshold."""
    result = []
    for name in classes:
        for label, kind in ((1, "false negative"), (0, "false positive")):
            errors = [row for row in rows if row["class"] == name and row["label"] == label]
            nearest = sorted(errors, key=lambda row: abs(row["margin"]))[:_LISTED]
            entry = {"class": name, "kind": kind, "count": len(errors)}
            result.append({**entry, "farthest": errors[:_LISTED], "nearest": nearest})
    return result


def label_noise(
    ids: np.ndarray,
    patients: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    folds: np.ndarray | None = None,
) -> dict[str, Any]:
    """Labels that confident learning suspects: records that are as sure of the other answer as those of it.

    A record without a class is suspected if its probability is at least the mean of the records with the
    class; one with it, if it is at most the mean of those without. ``records``: the suspected ones, the
    strongest disagreement first; ``macro_roc_auc_without``: without them, a ceiling that no other model has
    to respect, because the model that is scored chose them.

    Shapes: ids (N,), patients (N,), labels and probabilities (N, C).

    Northcutt et al., Confident learning, JAIR 70 (2021), doi:10.1613/jair.1.12125.
    """
    y, p = labels.astype(bool), probabilities.astype(np.float64)
    suspected = np.zeros(y.shape, dtype=bool)
    counts = []
    for column, name in enumerate(classes):
        has = y[:, column]
        if has.any() and not has.all():
            sure, unsure = p[has, column].mean(), p[~has, column].mean()
            suspected[:, column] = np.where(has, p[:, column] <= unsure, p[:, column] >= sure)
        missing, surplus = suspected[~has, column].sum(), suspected[has, column].sum()
        counts.append({"class": name, "maybe_missing": int(missing), "maybe_wrong": int(surplus)})
    distance = np.where(suspected, np.abs(p - y), -1)
    kept = ~suspected.any(axis=1)
    rows, columns = np.unravel_index(np.argsort(-distance, axis=None, kind="stable"), distance.shape)
    listed = [
        {
            "ecg_id": ids[r].item(),
            "patient": patients[r].item(),
            **({} if folds is None else {"fold": int(folds[r])}),
            "class": classes[c],
            "label": int(y[r, c]),
            "probability": round(float(p[r, c]), 6),
        }
        for r, c in zip(rows, columns, strict=True)
        if suspected[r, c]
    ]
    rest = macro(roc_auc(labels[kept], probabilities[kept])) if kept.any() else float("nan")
    return {
        "records": listed,
        "counts": counts,
        "suspected_records": int((~kept).sum()),
        "macro_roc_auc": macro(roc_auc(labels, probabilities)),
        "macro_roc_auc_without": rest,
    }

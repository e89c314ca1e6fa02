"""ROC-AUC and average precision of many classes at once, from scores that are sorted only once.

Only the positive records of a class need a look: the weight of everything below them comes from one
cumulative sum over the sorted records. With whole-number weights every sum is exact.
"""

from __future__ import annotations

import numpy as np


def sort_scores(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Sort the records of each class by score and find each positive record in that order.

    Shapes: labels (N, C), scores (N, C).
    """
    n, classes = labels.shape
    order = np.argsort(scores.T, axis=1, kind="stable")
    changes = np.diff(np.take_along_axis(scores.T, order, axis=1), axis=1) != 0
    edge = np.ones((classes, 1), dtype=bool)
    index = np.arange(n)
    first = np.maximum.accumulate(np.where(np.hstack([edge, changes]), index, 0), axis=1)
    last = np.where(np.hstack([changes, edge]), index, n)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    column, rank = np.nonzero(np.take_along_axis(labels.T, order, axis=1))
    tie = column * (n + 1) + first[column, rank]
    return {
        "order": order,
        "row": order[column, rank],
        "column": column,
        "first": tie,
        "after": column * (n + 1) + last[column, rank] + 1,
        "first_positive": np.searchsorted(tie, tie),
    }


def weighted_roc_auc(ranked: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class; ties count one half.

    Each positive record collects the weight of all records below it and half of its tie. Pairs of two
    positives are collected too; by symmetry they add exactly half of the squared weight of the positives.

    Shapes: weights (N,) -> (C,).
    """
    below = _cumulated(weights[ranked["order"]]).ravel()
    w = weights[ranked["row"]]
    positives = _per_class(w, ranked)
    negatives = weights.sum() - positives
    pairs = _per_class(w * (below[ranked["first"]] + below[ranked["after"]]), ranked) / 2 - positives**2 / 2
    return np.where(positives * negatives > 0, pairs / np.maximum(positives * negatives, 1), np.nan)


def weighted_auprc(ranked: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Average precision of each class: the precision at each positive record, averaged over them.

    Shapes: weights (N,) -> (C,).
    """
    total = weights.sum()
    w = weights[ranked["row"]]
    positives = _per_class(w, ranked)
    # Weight of all records, and of the positive ones, that score at least as high as each positive record.
    reached = total - _cumulated(weights[ranked["order"]]).ravel()[ranked["first"]]
    hits = np.cumsum(positives)[ranked["column"]] - _cumulated(w)[ranked["first_positive"]]
    value = _per_class(w * hits / np.maximum(reached, 1), ranked) / np.maximum(positives, 1)
    return np.where((positives > 0) & (positives < total), value, np.nan)


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Sums of what comes before each position of the last axis, one longer than the axis."""
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=np.int64)
    np.cumsum(values, axis=-1, out=out[..., 1:])
    return out


def _per_class(values: np.ndarray, ranked: dict[str, np.ndarray]) -> np.ndarray:
    """Sum the values of positive records class by class."""
    return np.bincount(ranked["column"], values, minlength=len(ranked["order"]))

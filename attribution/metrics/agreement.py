"""Similarity of two maps, and concentration of one."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

_ROWS = 64  # maps that are ranked or sorted at once


def correlation(first: np.ndarray, second: np.ndarray, ranks: bool = True) -> np.ndarray:
    """Correlation of two maps of each window, over all samples and leads; first, second (N, ...) -> (N,)."""
    scores = np.full(len(first), np.nan)
    for start in range(0, len(first), _ROWS):
        part = slice(start, start + _ROWS)
        a, b = (np.asarray(m[part], dtype=np.float64).reshape(len(m[part]), -1) for m in (first, second))
        defined = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
        a, b = (_standard(rankdata(m[defined], axis=1) if ranks else m[defined]) for m in (a, b))
        scores[part][defined] = np.clip((a * b).sum(axis=1), -1, 1)
    return scores


def _standard(maps: np.ndarray) -> np.ndarray:
    """Mean 0 and length 1; divided by the largest value first, as the square of a tiny one is 0."""
    maps = maps - maps.mean(axis=1, keepdims=True)
    maps = maps / np.abs(maps).max(axis=1, keepdims=True)
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


def gini(maps: np.ndarray) -> np.ndarray:
    """Gini index of the absolute values of each map: 0 spread evenly, near 1 on a few samples.

    Shapes: maps (N, ...) -> (N,).

    Hurley and Rickard, Comparing Measures of Sparsity, 2009, doi:10.1109/TIT.2009.2027527; of maps: Chalasani
    et al., Concise Explanations of Neural Networks, ICML 2020, arXiv:1810.06583.
    """
    scores = np.full(len(maps), np.nan)
    for start in range(0, len(maps), _ROWS):
        part = slice(start, start + _ROWS)
        values = np.sort(
            np.abs(np.asarray(maps[part], dtype=np.float64)).reshape(len(maps[part]), -1), axis=1
        )
        count, total = values.shape[1], values.sum(axis=1)
        shares = values[total > 0] / total[total > 0, None]
        scores[part][total > 0] = 1 - 2 * shares @ ((count - np.arange(count) - 0.5) / count)
    return scores

"""Which samples are removed at which point: patches of a map in order of their relevance.

A removal plan gives every sample the rank of its patch: one comparison with the number of patches that are
gone gives any disturbed input. A patch is a stretch of one lead; patches of all leads stand in one order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_NEVER = np.iinfo(np.int32).max


class Plan(NamedTuple):
    """When each sample is removed.

    ``rank`` (T, leads): the how manieth patch, counted from 1, takes the sample away; the largest
        int32 where none does.
    ``patches``: patches that are removed in all.
    """

    rank: np.ndarray
    patches: int


def sliding_plan(
    values: np.ndarray, patch: int, regions: int, descending: bool, generator: np.random.Generator | None
) -> Plan:
    """Take patches at any start in order of their sum, each where it overlaps none taken before.

    Shapes: values (T, leads).
    """
    samples, leads = values.shape
    lead_rows = values.T
    if generator is None:
        lead_rows = np.pad(lead_rows, [(0, 0), (0, patch - 1)])
    sums = np.lib.stride_tricks.sliding_window_view(lead_rows, patch, axis=1).sum(axis=-1)
    starts = sums.shape[1]

    free, taken = bytearray(b"\1" * sums.size), []
    for place in _order(sums.ravel(), descending, generator).tolist():
        if free[place]:
            taken.append(place)
            if len(taken) == regions:
                break
            lead = place // starts * starts
            low, high = max(lead, place - patch + 1), min(lead + starts, place + patch)
            free[low:high] = bytes(high - low)

    lead, start = np.divmod(np.array(taken), starts)
    rank = np.full((leads, samples + patch), _NEVER, dtype=np.int32)
    rank[lead[:, None], start[:, None] + np.arange(patch)] = np.arange(1, len(taken) + 1)[:, None]
    return Plan(np.ascontiguousarray(rank[:, :samples].T), len(taken))


def grid_order(values: np.ndarray, patch: int, generator: np.random.Generator) -> np.ndarray:
    """Order the patches of a fixed grid by their mean, most relevant first.

    Shapes: values (T, leads) -> (patches,).
    """
    begins = np.arange(0, len(values), patch)
    lengths = np.diff(np.append(begins, len(values)))
    means = np.add.reduceat(values.astype(np.float64), begins, axis=0) / lengths[:, None]
    return _order(means.T.ravel(), True, generator)


def grid_plan(order: np.ndarray, shape: tuple[int, int], patch: int) -> Plan:
    """Remove all patches of a fixed grid in a given order.

    Shapes: order (patches,).
    """
    samples, leads = shape
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(1, len(order) + 1)
    by_lead = np.repeat(rank.reshape(leads, -1), patch, axis=1)[:, :samples]
    return Plan(np.ascontiguousarray(by_lead.T), len(order))


def _order(scores: np.ndarray, descending: bool, generator: np.random.Generator | None) -> np.ndarray:
    """Indices from the first to remove to the last."""
    if generator is None:
        order = np.argsort(scores)
        return order[::-1] if descending else order
    return np.lexsort((generator.random(scores.size), -scores if descending else scores))

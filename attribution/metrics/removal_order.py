"""The order in which patches of the input are removed.

A removal plan gives every sample the rank of its patch: one comparison with the number of removed patches
gives any perturbed input. A patch is a segment of one lead; the patches of all leads have one order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_NEVER = np.iinfo(np.int32).max


class Plan(NamedTuple):
    """When each sample is removed.

    ``rank`` (T, leads): rank, from 1, of the patch that removes the sample; the largest int32 where none
        does.
    ``patches``: number of removed patches.
    """

    rank: np.ndarray
    patches: int


def sliding_plan(
    values: np.ndarray, patch: int, regions: int, descending: bool, generator: np.random.Generator | None
) -> Plan:
    """Remove patches at any start in order of their sum, each unless it overlaps one removed before.

    Shapes: values (T, leads).
    """
    samples, leads = values.shape
    lead_rows = values.T
    if generator is None:
        lead_rows = np.pad(lead_rows, [(0, 0), (0, patch - 1)])
    sums = np.lib.stride_tricks.sliding_window_view(lead_rows, patch, axis=1).sum(axis=-1)
    starts = sums.shape[1]

    free, chosen = bytearray(b"\1" * sums.size), []
    for place in _order(sums.ravel(), descending, generator).tolist():
        if free[place]:
            chosen.append(place)
            if len(chosen) == regions:
                break
            lead = place // starts * starts
            low, high = max(lead, place - patch + 1), min(lead + starts, place + patch)
            free[low:high] = bytes(high - low)

    lead, start = np.divmod(np.array(chosen), starts)
    rank = np.full((leads, samples + patch), _NEVER, dtype=np.int32)
    rank[lead[:, None], start[:, None] + np.arange(patch)] = np.arange(1, len(chosen) + 1)[:, None]
    return Plan(np.ascontiguousarray(rank[:, :samples].T), len(chosen))


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
    """Indices in order of removal."""
    if generator is None:
        order = np.argsort(scores)
        return order[::-1] if descending else order
    return np.lexsort((generator.random(scores.size), -scores if descending else scores))

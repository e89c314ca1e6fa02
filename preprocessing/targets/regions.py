"""Where the evidence is: annotated beats, or regions of single leads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from utils.errors import UsageError


class Beats(NamedTuple):
    """Annotated beats, ordered by window.

    ``window`` (M,): row of the window.
    ``sample`` (M,): position in samples from the start of the window.
    ``cls`` (M,): class index; a beat of none of the classes has a higher one and owns no span.
    """

    window: np.ndarray
    sample: np.ndarray
    cls: np.ndarray


class Regions(NamedTuple):
    """Stretches that are true by construction or by delineation, ordered by window.

    ``window`` (R,): row of the window.
    ``cls`` (R,): class index the region belongs to, -1 for every class.
    ``lead`` (R,): column of the lead, -1 for all leads.
    ``start, stop`` (R,): first sample and the one after the last.
    ``kind`` (R,): name of the truth it belongs to: ``planted``, ``P``, ``QRS`` or ``T``.
    """

    window: np.ndarray
    cls: np.ndarray
    lead: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    kind: np.ndarray


def in_order(kind: type[Beats] | type[Regions], truth: Any) -> Any:
    """Bring a truth into the form that everybody relies on."""
    if truth is None:
        return None
    types = [str if name == "kind" else np.int64 for name in kind._fields]
    arrays = [np.asarray(values, dtype) for values, dtype in zip(truth, types, strict=True)]
    if any(array.shape != (len(arrays[0]),) for array in arrays):
        raise UsageError(f"the parts of {kind.__name__} have different lengths")
    order = np.argsort(arrays[0], kind="stable")
    return kind(*(array[order] for array in arrays))


def truth_of(truth: Any, rows: np.ndarray) -> Any:
    """Choose windows, which are numbered anew.

    Shapes: rows (n,).
    """
    if truth is None:
        return None
    starts, stops = np.searchsorted(truth.window, [rows, rows + 1])
    places = np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)] or [np.arange(0)])
    new = np.repeat(np.arange(len(rows)), stops - starts)
    return type(truth)(new, *(values[places] for values in truth[1:]))

"""Ground truth of explanations: annotated beats, or regions of single leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from preprocessing.targets.beats import beat_spans
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
    """Regions known by construction or by delineation, ordered by window.

    ``window`` (R,): row of the window.
    ``cls`` (R,): class index the region belongs to, -1 for every class.
    ``lead`` (R,): column of the lead, -1 for all leads.
    ``start, stop`` (R,): first sample and the one after the last.
    ``kind`` (R,): ground truth it belongs to: ``planted``, ``P``, ``QRS`` or ``T``.
    """

    window: np.ndarray
    cls: np.ndarray
    lead: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    kind: np.ndarray


Annotated = TypeVar("Annotated", Beats, Regions)


def sort_annotations(annotations: Annotated | None) -> Annotated | None:
    """Validate annotations and sort them by window."""
    if annotations is None:
        return None
    kind = type(annotations)
    types = [str if name == "kind" else np.int64 for name in kind._fields]
    arrays = [np.asarray(values, dtype) for values, dtype in zip(annotations, types, strict=True)]
    if any(array.shape != (len(arrays[0]),) for array in arrays):
        raise UsageError(f"the parts of {kind.__name__} have different lengths")
    order = np.argsort(arrays[0], kind="stable")
    return kind(*(array[order] for array in arrays))


def take_annotations(annotations: Annotated | None, rows: np.ndarray) -> Annotated | None:
    """Annotations of some windows, renumbered in their order; rows (n,)."""
    if annotations is None:
        return None
    starts, stops = np.searchsorted(annotations.window, [rows, rows + 1])
    places = np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)] or [np.arange(0)])
    window = np.repeat(np.arange(len(rows)), stops - starts)
    return type(annotations)(window, *(values[places] for values in annotations[1:]))


def rows_of(annotations: Annotated, row: int) -> Annotated:
    """Annotations of one window."""
    start, stop = np.searchsorted(annotations.window, [row, row + 1])
    return type(annotations)(*(values[start:stop] for values in annotations))


def beats_by_class(beats: Beats, classes: Sequence[str], samples: int) -> dict[str, list[tuple[int, int]]]:
    """Intervals (start, stop) around the beats of each class of one window."""
    spans: dict[str, list[tuple[int, int]]] = {name: [] for name in classes}
    for start, stop, index in beat_spans(beats.sample, beats.cls, samples):
        if index < len(classes):
            spans[classes[index]].append((start, stop))
    return spans


def region_mask(regions: Regions | None, target: int, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the regions of one window that belong to a class and a ground truth, (T, leads)."""
    mask = np.zeros(shape, dtype=bool)
    if regions is None:
        return mask
    for index in np.flatnonzero((regions.kind == kind) & np.isin(regions.cls, (target, -1))):
        lead = regions.lead[index]
        mask[regions.start[index] : regions.stop[index], slice(None) if lead < 0 else lead] = True
    return mask

"""Ground truth of explanations: annotated beats, or regions of single leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from preprocessing.targets.beats import beat_spans
from utils.errors import UsageError, nearest

if TYPE_CHECKING:
    from preprocessing.dataset import Dataset


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


def _of_window(windows: Dataset, annotations: Annotated | None, row: int) -> Annotated | None:
    """Annotations of one window."""
    if not 0 <= row < len(windows):
        raise UsageError(f"no window {row}: {windows.name} has {len(windows)}")
    if annotations is None:
        return None
    start, stop = np.searchsorted(annotations.window, [row, row + 1])
    return type(annotations)(*(values[start:stop] for values in annotations))


def beat_intervals(windows: Dataset, row: int) -> dict[str, list[tuple[int, int]]]:
    """Intervals (start, stop) around the beats of each class of one window, in order of time."""
    beats = _of_window(windows, windows.beats, row)
    if beats is None:
        listed = ", ".join(windows.ground_truths) or "none"
        raise UsageError(f"the windows of {windows.name} have no beats; ground truths: {listed}")
    intervals: dict[str, list[tuple[int, int]]] = {name: [] for name in windows.classes}
    for start, stop, index in beat_spans(beats.sample, beats.cls, windows.samples):
        if index < len(windows.classes):
            intervals[windows.classes[index]].append((start, stop))
    return intervals


def ground_truth_mask(windows: Dataset, row: int, target: int, ground_truth: str) -> np.ndarray:
    """Where the evidence for a class is, (T, leads); all False where the window has none."""
    if ground_truth not in windows.ground_truths:
        hint = nearest(ground_truth, windows.ground_truths)
        raise UsageError(f"{windows.name} has no ground truth '{ground_truth}': {hint}")
    if not 0 <= target < len(windows.classes):
        raise UsageError(f"target {target} is not a class index: {windows.name} has {len(windows.classes)}")
    mask = np.zeros(windows.signals.shape[1:], dtype=bool)
    if ground_truth == "beats":
        for start, stop in beat_intervals(windows, row)[windows.classes[target]]:
            mask[start:stop] = True
        return mask
    regions = _of_window(windows, windows.regions, row)
    if regions is None:
        return mask
    for index in np.flatnonzero((regions.kind == ground_truth) & np.isin(regions.cls, (target, -1))):
        lead = regions.lead[index]
        mask[regions.start[index] : regions.stop[index], slice(None) if lead < 0 else lead] = True
    return mask

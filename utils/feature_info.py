"""Where the columns of a feature map lie in the signal: a model's description of its inner layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

EXPLAINED_STRIDE = 32  # samples: coarser maps say too little about where


class Segment(NamedTuple):
    """One of several copies of the record that a map's columns run through, joined along time.

    ``start``: step of the joined sequence where the copy begins.
    ``kernel``: samples that a step of the joined sequence sees.
    """

    start: int
    kernel: int


@dataclass(frozen=True)
class FeatureInfo:
    """A feature map of a model, and the samples that its columns see.

    Column k sees samples ``start + k stride`` up to, not including, ``start + k stride + receptive_field``;
    what lies outside the record is padding. PyTorch maps are (B, channels, [leads,] columns), Keras maps
    (B x [leads x] windows, columns, channels).

    ``name``: dotted name of the PyTorch module, or name of the Keras operation, whose output is the map;
        empty where only the model's ``features`` gives it.
    ``stride``: samples from one column to the next.
    ``start``: first sample that column 0 sees; negative where it begins in the padding.
    ``middle``: sample that column 0 stands for; where None, the middle of what it sees.
    ``leads``: ``all``: each column sees all leads; ``each``: one row of columns for each lead; ``in turn``:
        the layer reads the leads one after another, as many consecutive values of a lead in a step as there
        are leads.
    ``window``: samples that the layer reads at a time, one window after another; 0: the whole record.
    ``segments``: where the columns run through several copies of the record; ``start``, ``stride`` and
        ``receptive_field`` then count the steps of the joined copies.
    ``explained``: whether Grad-CAM reads this map; it adds the maps of several.
    ``exact``: False where what a column sees depends on its place (behind an enlarged map); the numbers are
        then the largest that any column sees.
    """

    name: str
    channels: int
    stride: int
    receptive_field: int
    start: int
    middle: float | None = None
    leads: str = "all"
    window: int = 0
    segments: tuple[Segment, ...] = ()
    explained: bool = False
    exact: bool = True

    def inside(self, parent: str, **changes: Any) -> FeatureInfo:
        """The same map, named from the module that holds the layer."""
        return dataclasses.replace(self, name=f"{parent}.{self.name}" if self.name else parent, **changes)

    def middles(self, columns: int) -> list[np.ndarray]:
        """Samples that the columns stand for, one array for each segment."""
        first = self.start + (self.receptive_field - 1) / 2 if self.middle is None else self.middle
        steps = first + self.stride * np.arange(columns)
        if not self.segments:
            return [steps]
        starts = [segment.start for segment in self.segments]
        owner = np.searchsorted(starts[1:], steps, side="right")
        return [
            steps[owner == index] - segment.start + (segment.kernel - 1) / 2
            for index, segment in enumerate(self.segments)
        ]

    def sees(self, column: int, samples: int) -> np.ndarray:
        """Which samples of a window, or of the record, influence a column; (samples,), bool."""
        first = self.start + column * self.stride
        seen = np.zeros(samples, bool)
        for start, kernel in self.segments or (Segment(0, 1),):
            last_step = samples - kernel
            low, high = max(first - start, 0), min(first + self.receptive_field - 1 - start, last_step)
            if low <= high:
                seen[low : high + kernel] = True
        return seen


class Grid(NamedTuple):
    """Columns of a layer while a model is described: layers are added one by one."""

    stride: int = 1
    receptive_field: int = 1
    start: int = 0

    def through(self, kernel: int, stride: int = 1, padding: int | None = None) -> Grid:
        """Grid behind a convolution or pooling; padding on the left, half the kernel if not given."""
        padding = kernel // 2 if padding is None else padding
        return Grid(
            self.stride * stride,
            self.receptive_field + (kernel - 1) * self.stride,
            self.start - padding * self.stride,
        )

    def enlarged(self, factor: int) -> Grid:
        """Grid behind repeated columns, each of which sees what the column does that it repeats."""
        stride = self.stride // factor
        reach = (factor - 1) * stride
        return Grid(stride, self.receptive_field + reach, self.start - reach)

    def joined(self, other: Grid) -> Grid:
        """Grid of a map that reads two maps of the same stride."""
        start = min(self.start, other.start)
        end = max(self.start + self.receptive_field, other.start + other.receptive_field)
        return Grid(self.stride, end - start, start)

    @property
    def middle(self) -> float:
        """Middle of what column 0 sees."""
        return self.start + (self.receptive_field - 1) / 2

    def info(self, name: str, channels: int, **more: Any) -> FeatureInfo:
        """Describe a map with these columns."""
        return FeatureInfo(name, channels, self.stride, self.receptive_field, self.start, **more)


def mark_explained(infos: Sequence[FeatureInfo]) -> tuple[FeatureInfo, ...]:
    """Mark the map for Grad-CAM: the deepest one with a stride of at most 32 samples."""
    fine = [index for index, info in enumerate(infos) if info.stride <= EXPLAINED_STRIDE]
    return tuple(
        dataclasses.replace(info, explained=index == fine[-1]) if fine else info
        for index, info in enumerate(infos)
    )

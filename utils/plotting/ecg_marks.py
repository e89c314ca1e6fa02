"""Marks on the picture of an ECG: waves as bands behind the trace, peaks as ticks above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from utils.plotting.ecg_paper import MM_PER_SECOND

# Dark enough for text of the same color; P, QRS and T also differ in lightness.
_COLORS = {"P": "#1b7f6b", "QRS": "#b3261e", "T": "#2f5fb3", "R": "#b3261e"}
_OTHERS = ("#7a4fb5", "#8a6d00", "#4d4d4d")
_BAND = 6.0  # half the height of a band, mm
_TICK = (7.0, 9.0)  # of a peak, mm above the line of its lead


class Mark(NamedTuple):
    """A wave, or a peak where both ends are equal, in seconds of the time axis."""

    lead: str
    start: float
    end: float
    kind: str


def colors_of(marks: Sequence[Mark]) -> dict[str, str]:
    """Color of each kind of mark, in order of appearance."""
    kinds = dict.fromkeys(mark.kind for mark in marks)
    return {kind: _COLORS.get(kind, _OTHERS[i % len(_OTHERS)]) for i, kind in enumerate(kinds)}


def paint_marks(
    axes: Axes,
    marks: Sequence[Mark],
    lead: str,
    colors: dict[str, str],
    second: float,
    span: tuple[float, float],
    offset: float,
) -> None:
    """Paint the marks of a lead whose trace begins at `second` and lies between two millimeters."""
    ticks: dict[str, list[list[tuple[float, float]]]] = {}
    for mark in (mark for mark in marks if mark.lead == lead):
        left, right = (span[0] + (place - second) * MM_PER_SECOND for place in (mark.start, mark.end))
        if right < span[0] or left > span[1]:
            continue
        if mark.end > mark.start:
            left, right = np.clip([left, right], *span)
            box = Rectangle(
                (left, offset - _BAND), right - left, 2 * _BAND, color=colors[mark.kind], alpha=0.22, lw=0,
                zorder=1.6,
            )  # fmt: skip
            axes.add_patch(box)
        else:
            ticks.setdefault(mark.kind, []).append([(left, offset + _TICK[0]), (left, offset + _TICK[1])])
    for kind, lines in ticks.items():
        axes.add_collection(LineCollection(lines, colors=colors[kind], linewidths=1.4, zorder=4.5))


def name_marks(axes: Axes, marks: Sequence[Mark], at: tuple[float, float]) -> dict[str, str]:
    """Write the kinds of marks in their colors, side by side; gives these colors."""
    colors = colors_of(marks)
    for place, (kind, color) in enumerate(colors.items()):
        axes.text(at[0] + 9 * place, at[1], kind, fontsize=9, weight="bold", color=color, zorder=5)
    return colors

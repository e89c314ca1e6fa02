"""ECG paper: true millimeters, 25 mm/s and 10 mm/mV, with grid, time axis, calibration pulse and footer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.ndimage import maximum_filter1d

from utils.ecg import NOT_A_DEVICE
from utils.text import printable

MM_PER_SECOND = 25.0
MM_PER_MV = 10.0
PAPER, THIN, THICK, INK, GRAY = "#fff8f6", "#f9dedb", "#eeb3ae", "#111111", "#555555"
# Whole millimeters: white margins round the paper, room for the color bar, and before each column of traces.
LEFT, RIGHT, BOTTOM, BAR, GUTTER = 20, 6, 15, 18, 15
SMALLEST_PITCH, LARGEST_PITCH, NARROWEST = 15, 60, 120


def row_offsets(
    millimeters: np.ndarray, sampling_rate: float, rows: int, spans: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, int]:
    """Place the rows of traces as close as they go without overlapping, on thick grid lines.

    Shapes: millimeters (T, 12) -> offsets (rows,).
    """
    reach = max(1, round(0.2 * sampling_rate))
    up, down = np.zeros((2, rows, max(stop - start for start, stop in spans) * len(spans)))
    for column, (start, stop) in enumerate(spans):
        part = millimeters[start:stop, column * rows : (column + 1) * rows].T
        samples = slice(start, stop)
        up[:, samples] = maximum_filter1d(part, reach, axis=1)
        down[:, samples] = maximum_filter1d(-part, reach, axis=1)
    pitch = [(down[r] + up[r + 1]).max() + 3 for r in range(rows - 1)]
    pitch = [5 * math.ceil(np.clip(p, SMALLEST_PITCH, LARGEST_PITCH) / 5) for p in pitch]
    top = 5 * math.ceil(np.clip(up[0].max() + 4, 15, LARGEST_PITCH) / 5)
    bottom = 5 * math.ceil(np.clip(down[-1].max() + 4, 10, LARGEST_PITCH) / 5)
    offsets = bottom + np.append(np.cumsum(pitch[::-1])[::-1], 0)
    return offsets, int(offsets[0]) + top


def new_paper(width: int, height: int, title: str, subtitle: str, has_bar: bool) -> tuple[Figure, Axes]:
    """Make a page whose only axes count millimeters of paper, with grid, scale, title and footer."""
    titles = textwrap.wrap(printable(title), int(width / 3))
    lines = [
        line for part in subtitle.splitlines() for line in textwrap.wrap(printable(part), int(width / 1.8))
    ]
    head = 6 + 7 * len(titles) + 5 * len(lines)
    page = (LEFT + width + RIGHT, BOTTOM + BAR * has_bar + height + head)
    figure = Figure(figsize=(page[0] / 25.4, page[1] / 25.4), facecolor="white")
    box = (LEFT / page[0], (page[1] - head - height) / page[1], width / page[0], height / page[1])
    axes = figure.add_axes(box, facecolor=PAPER)
    axes.set(xlim=(0, width), ylim=(0, height), yticks=[])
    axes.tick_params(length=3, color=GRAY)
    for spine in axes.spines.values():
        spine.set(color=THICK, linewidth=0.8)
    for spacing, color, line in ((1, THIN, 0.35), (5, THICK, 0.55)):
        upright = [[(x, 0), (x, height)] for x in range(0, width + 1, spacing)]
        level = [[(0, y), (width, y)] for y in range(0, height + 1, spacing)]
        grid = LineCollection(upright + level, colors=color, linewidths=line, antialiaseds=False, zorder=1)
        axes.add_collection(grid)
    axes.text(width - 1.5, 1.2, "25 mm/s   10 mm/mV", fontsize=8, color=GRAY, ha="right", zorder=5)
    for number, text in enumerate(titles):
        figure.text(
            box[0],
            1 - (8.5 + 7 * number) / page[1],
            text,
            fontsize=14,
            weight="bold",
            color=INK,
            parse_math=False,
        )
    for number, text in enumerate(lines):
        y = 6 + 7 * len(titles) + 5 * number
        figure.text(box[0], 1 - y / page[1], text, fontsize=9.5, color=INK, va="center", parse_math=False)
    figure.text(box[0], 3.5 / page[1], NOT_A_DEVICE, fontsize=8, color=GRAY)
    return figure, axes


def time_axis(
    axes: Axes, sampling_rate: float, spans: Sequence[tuple[int, int]], column_width: int, begin: float = 0.0
) -> None:
    """Mark whole seconds under each column of traces; the signal begins at second `begin`."""
    places, labels = [], []
    for column, (start, stop) in enumerate(spans):
        first, last = begin + start / sampling_rate, begin + stop / sampling_rate
        for second in range(math.ceil(first), math.floor(last + 1e-9) + 1):
            places.append(GUTTER + column * column_width + (second - first) * MM_PER_SECOND)
            labels.append(f"{second} s")
    axes.set_xticks(places, labels, fontsize=8, color=GRAY)


def calibration_pulse(axes: Axes, offset: float) -> None:
    """Draw the calibration pulse, 1 mV for 0.2 s, in the first gutter."""
    x, y = np.array([3, 5, 5, 10, 10, 12]), np.array([0, 0, 1, 1, 0, 0]) * MM_PER_MV
    axes.plot(x, offset + y, color=INK, linewidth=0.8, zorder=4)

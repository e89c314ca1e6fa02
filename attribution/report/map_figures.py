"""Figures of maps: on the trace of one lead, one row per method, or one map on the 12-lead ECG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.errors import DataError
from utils.plotting.ecg import color_bar, plot_ecg
from utils.plotting.ecg_paper import (
    GRAY,
    GUTTER,
    INK,
    LEFT,
    MM_PER_MV,
    MM_PER_SECOND,
    NARROWEST,
    PAPER,
    new_paper,
    row_offsets,
    time_axis,
)
from utils.plotting.style import plain_style

FOR, AGAINST, ANNOTATED = "#4a2fc9", "#d55e00", "#009e73"
# transparent in the middle, so that paper and ground truth show where a map is zero
MAP_COLORS = LinearSegmentedColormap.from_list(
    "map", [(0, (AGAINST, 0.8)), (0.5, (AGAINST, 0.0)), (0.5, (FOR, 0.0)), (1, (FOR, 0.8))], N=255
)
_NORM = Normalize(-1, 1)
_PIXELS_PER_SECOND = 5 * MM_PER_SECOND
_HALF_GAIN = MM_PER_MV / 2  # so that a dozen rows fit on a page
_BAND = 6.0  # half of its height, mm; rows are 15 mm apart or more
_FAINTEST = 5e-4  # of the largest magnitude: below one step of the colors
_PULSE = np.array([0, 0, 1, 1, 0, 0]) * _HALF_GAIN  # 1 mV for 0.2 s
_FOOT = 4.5  # the scale of the paper is written there, mm


def runs_of(mask: np.ndarray) -> list[tuple[int, int]]:
    """Runs of True in a mask, as (start, stop); mask (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _scaled(values: np.ndarray) -> np.ndarray:
    largest = np.abs(values).max()
    return values / largest if largest > 0 else values


@plain_style()
def draw_methods(
    signal_mv: np.ndarray,
    sampling_rate: float,
    maps: Mapping[str, np.ndarray],
    title: str,
    subtitle: str = "",
    ground_truth: np.ndarray | None = None,
    ground_truth_name: str = "",
    notes: Mapping[str, str] | None = None,
    start: int = 0,
) -> Figure:
    """Draw one lead on paper once per method, with the method's map as a band behind the trace.

    Scale: 25 mm/s and 5 mm/mV, so that a dozen rows fit on a page. Every map is divided by its largest
    magnitude. Where several samples share a pixel, the one with the largest magnitude is drawn, so that no
    narrow peak is lost.

    Shapes: signal_mv (T,), maps (T,), ground_truth (T,).
    """
    signal = np.asarray(signal_mv, dtype=np.float64)
    if not maps:
        raise DataError("no map to draw")
    for name, values in maps.items():
        if np.shape(values) != signal.shape or not np.isfinite(values).all():
            raise DataError(
                f"the map {name} is {np.shape(values)}, finite numbers of shape {signal.shape} are required"
            )
    millimeters = (signal - np.median(signal)) * _HALF_GAIN
    span = (start, start + len(signal))
    offsets, height = row_offsets(
        np.tile(millimeters[:, None], len(maps)), sampling_rate, len(maps), [(0, len(signal))]
    )
    column = GUTTER + 5 * math.ceil(len(signal) / sampling_rate * MM_PER_SECOND / 5)
    figure, axes = new_paper(max(column + 5, NARROWEST), height, title, subtitle, True)
    x = GUTTER + np.arange(len(signal)) / sampling_rate * MM_PER_SECOND
    if ground_truth is not None:
        for first, last in runs_of(ground_truth):
            _shade(axes, x[0], sampling_rate, first, last, _FOOT, height)
    for (name, values), offset in zip(maps.items(), offsets, strict=True):
        _band(axes, x, offset, _scaled(np.asarray(values, dtype=np.float64)), sampling_rate)
        axes.plot(x, offset + millimeters, color=INK, linewidth=0.7, solid_joinstyle="round", zorder=4)
        axes.plot([3, 5, 5, 10, 10, 12], offset + _PULSE, color=INK, linewidth=0.7, zorder=4)
        words = "\n".join(textwrap.wrap(name, 11))
        axes.text(-1.5, offset, words, ha="right", va="center", fontsize=7.5, weight="bold")
        note = "map is zero" if not np.any(values) else (notes or {}).get(name, "")
        below = offset - 2.2 - 1.6 * words.count("\n")
        axes.text(-1.5, below, note, ha="right", va="top", fontsize=6.5, color=GRAY)
    next(t for t in axes.texts if "mm/mV" in t.get_text()).set_text("25 mm/s   5 mm/mV")
    time_axis(axes, sampling_rate, [span], column)
    words = (
        "attribution (violet: for the class, orange: against it), each map divided by its largest magnitude"
    )
    labels = {tick: f"{tick:g}" for tick in (-1, -0.5, 0, 0.5, 1)}
    color_bar(figure, ScalarMappable(_NORM, MAP_COLORS), labels, words)
    _ground_truth_legend(figure, ground_truth_name if ground_truth is not None else "")
    return figure


def _shade(
    axes: Axes, left: float, sampling_rate: float, first: int, last: int, bottom: float, top: float
) -> None:
    x = left + first / sampling_rate * MM_PER_SECOND
    width = (last - first) / sampling_rate * MM_PER_SECOND
    height = top - bottom
    axes.add_patch(
        Rectangle((x, bottom), width, height, facecolor=ANNOTATED, alpha=0.16, linewidth=0, zorder=1.5)
    )
    axes.add_patch(
        Rectangle((x, bottom), width, height, fill=False, edgecolor=ANNOTATED, linewidth=0.9, zorder=1.6)
    )


def _band(axes: Axes, x: np.ndarray, offset: float, heat: np.ndarray, sampling_rate: float) -> None:
    step = max(1, math.ceil(sampling_rate / _PIXELS_PER_SECOND))
    cuts = np.arange(0, len(heat), step)
    edges = np.interp(np.append(cuts, len(heat)) - 0.5, np.arange(len(x)), x)
    strongest = np.array([part[np.abs(part).argmax()] for part in np.split(heat, cuts[1:])])
    heights = [offset - _BAND, offset + _BAND]
    axes.pcolormesh(edges, heights, strongest[None], cmap=MAP_COLORS, norm=_NORM, zorder=2)


def _ground_truth_legend(figure: Figure, ground_truth_name: str) -> None:
    if not ground_truth_name:
        return
    width, height = figure.get_size_inches() * 25.4
    box = figure.add_axes(((LEFT + 88) / width, 15 / height, 8 / width, 3 / height))
    box.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], facecolor=PAPER)
    box.add_patch(Rectangle((0, 0), 1, 1, facecolor=ANNOTATED, alpha=0.16, linewidth=0))
    for spine in box.spines.values():
        spine.set(color=ANNOTATED, linewidth=0.9)
    lines = textwrap.wrap(f"ground truth: {ground_truth_name}", max(20, int((width - LEFT - 100) / 1.7)))
    figure.text((LEFT + 98) / width, 16.5 / height, "\n".join(lines[:2]), fontsize=9, va="center", color=INK)


@plain_style()
def draw_twelve_leads(
    signals_mv: np.ndarray,
    sampling_rate: float,
    values: np.ndarray,
    title: str,
    subtitle: str = "",
    ground_truth: np.ndarray | None = None,
    ground_truth_name: str = "",
    start: int = 0,
) -> Figure:
    """Draw the 12-lead ECG on paper with the magnitudes of one map as a ribbon under the traces.

    The % beside a lead is its share of the summed magnitude.

    Shapes: signals_mv (T, 12), values (T, 12), ground_truth (T, 12).
    """
    magnitude = np.abs(_scaled(np.asarray(values, dtype=np.float64)))
    magnitude[magnitude < _FAINTEST] = 0  # for a color bar that starts at 0
    total = magnitude.sum()
    figure = plot_ecg(
        signals_mv,
        sampling_rate,
        None,
        title,
        magnitude,
        "magnitude of the attribution, 1 = largest of the window",
        subtitle,
        magnitude.sum(axis=0) / total if total > 0 else None,
    )
    axes = figure.axes[0]
    seconds = len(magnitude) / sampling_rate
    column = GUTTER + 5 * math.ceil(seconds * MM_PER_SECOND / 5)
    time_axis(axes, sampling_rate, [(start, start + len(magnitude))], column)
    if ground_truth is not None and ground_truth.any():
        millimeters = (signals_mv - np.median(signals_mv, axis=0)) * MM_PER_MV
        offsets, height = row_offsets(millimeters, sampling_rate, 12, [(0, len(magnitude))])
        middles = (offsets[:-1] + offsets[1:]) / 2
        tops, bottoms = np.concatenate([[height], middles]), np.concatenate([middles, [_FOOT]])
        for lead in range(12):
            for first, last in runs_of(ground_truth[:, lead]):
                _shade(axes, GUTTER, sampling_rate, first, last, bottoms[lead] + 0.4, tops[lead] - 0.4)
        _ground_truth_legend(figure, ground_truth_name)
    return figure

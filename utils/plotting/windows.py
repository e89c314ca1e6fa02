"""Figures of windows: 12-lead ECGs on paper with the part that a prototype matched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from utils.plotting.ecg import plot_ecg, png
from utils.plotting.ecg_paper import GUTTER, INK, MM_PER_SECOND, time_axis
from utils.plotting.style import plain_style

DPI = 101.6  # 4 pixels a millimeter: every grid line falls on whole pixels
WINDOW_COLOR = "#4a2fc9"
# Okabe and Ito's palette, also for color-blind readers (without its yellow, faint on paper)
CLASS_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SHORTEST_VIEW_S = 5
_COLORS = (256, 48)  # as many as fit into the size
_LARGEST_BYTES = 150_000
_FOOT_MM = 4.5  # the scale is written there


@dataclass(frozen=True)
class Mark:
    """A time span to shade.

    ``label``: short text at the top.
    """

    start_ms: float
    end_ms: float
    label: str = ""
    color: str = WINDOW_COLOR


def seconds(start_ms: float, end_ms: float) -> str:
    """A time span as text in seconds."""
    return f"{start_ms / 1000:.2f}–{end_ms / 1000:.2f} s"


def view_of(
    span_ms: tuple[float, float], field_ms: tuple[float, float], duration_ms: float
) -> tuple[float, float]:
    """Part of a record that a figure shows: at least 5 s, with the whole receptive field."""
    shortest = max(SHORTEST_VIEW_S * 1000, math.ceil((field_ms[1] - field_ms[0]) / 1000) * 1000)
    length = min(shortest, duration_ms)
    start = min(max(0, sum(span_ms) / 2 - length / 2), duration_ms - length)
    start = min(start, field_ms[0])  # a field cut off by one end of the record is not centered on its window
    end = max(start + length, field_ms[1])
    return start, min(end, duration_ms)


@plain_style()
def draw_window(
    signals_mv: np.ndarray,
    sampling_rate: float,
    span_ms: tuple[float, float],
    field_ms: tuple[float, float],
    title: str,
    subtitle: str,
) -> bytes:
    """Draw a shaded window and its surroundings, with a bracket over its receptive field.

    A window that is the whole record is not shaded.

    Shapes: signals_mv (T, 12).
    """
    duration = len(signals_mv) / sampling_rate * 1000
    view = view_of(span_ms, field_ms, duration)
    first, last = (round(t / 1000 * sampling_rate) for t in view)
    figure = plot_ecg(signals_mv[first:last], sampling_rate, None, title=title, subtitle=subtitle)
    column_width = GUTTER + 5 * math.ceil((last - first) / sampling_rate * MM_PER_SECOND / 5)
    time_axis(figure.axes[0], sampling_rate, [(first, last)], column_width)  # the record's own seconds
    if span_ms[1] - span_ms[0] < duration:
        start = first / sampling_rate * 1000
        _shade(figure, [Mark(*span_ms)], start)
        _bracket(figure, field_ms, start)
    return _small_png(figure)


@plain_style()
def draw_record(
    signals_mv: np.ndarray,
    sampling_rate: float,
    marks: Sequence[Mark],
    title: str,
    subtitle: str,
    painting: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """Draw a whole record with several windows in it; signals_mv (T, 12); ``painting`` goes to `plot_ecg`."""
    figure = plot_ecg(signals_mv, sampling_rate, None, title=title, subtitle=subtitle, **painting)
    _shade(figure, marks, 0)
    return _small_png(figure)


def _millimeters(time_ms: float, start_ms: float) -> float:
    return GUTTER + (time_ms - start_ms) / 1000 * MM_PER_SECOND


def _shade(figure: Figure, marks: Sequence[Mark], start_ms: float) -> None:
    """Shade time spans over all leads; equal spans share one shade and join their labels."""
    axes = figure.axes[0]
    foot = _FOOT_MM / axes.get_ylim()[1]
    by_span: dict[tuple[float, float], list[Mark]] = {}
    for mark in marks:
        by_span.setdefault((mark.start_ms, mark.end_ms), []).append(mark)
    for span, group in by_span.items():
        left, right = (_millimeters(t, start_ms) for t in span)
        axes.axvspan(left, right, foot, facecolor=group[0].color, alpha=0.14, linewidth=0, zorder=2)
        axes.axvspan(left, right, foot, fill=False, edgecolor=group[0].color, linewidth=1.2, zorder=3)
        label = " ".join(mark.label for mark in group)
        if label:
            box = {"facecolor": group[0].color, "edgecolor": "none", "pad": 1.2}
            top = axes.get_ylim()[1] - 0.9
            axes.text(
                left + 0.9,
                top,
                label,
                fontsize=7.5,
                weight="bold",
                color="white",
                va="top",
                bbox=box,
                zorder=6,
            )


def _bracket(figure: Figure, field_ms: tuple[float, float], start_ms: float) -> None:
    """Mark the receptive field by a faint band and a bracket at the top."""
    axes = figure.axes[0]
    left, right = (_millimeters(t, start_ms) for t in field_ms)
    top = axes.get_ylim()[1] - 1.2
    axes.axvspan(
        left,
        right,
        _FOOT_MM / axes.get_ylim()[1],
        facecolor=WINDOW_COLOR,
        alpha=0.045,
        linewidth=0,
        zorder=1.5,
    )
    axes.plot([left, left, right, right], [top - 2, top, top, top - 2], color=INK, linewidth=1.0, zorder=5)


def _small_png(figure: Figure) -> bytes:
    """A PNG of as many colors as fit into the size."""
    content = png(figure, DPI, _COLORS[0])
    return content if len(content) <= _LARGEST_BYTES else png(figure, DPI, _COLORS[1])

"""The page's ECG as SVG, PNG or PDF in true millimeters, without anything that identifies a person."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from explorer.measure import interval
from explorer.paper import Paper, Segment
from explorer.reasons import color_strength
from utils.ecg import LEADS, NOT_A_DEVICE
from utils.errors import UsageError
from utils.plotting.ecg import png
from utils.plotting.ecg_paper import GRAY, INK, PAPER, THICK, THIN
from utils.plotting.style import plain_style

FORMATS = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
_FOOT = 12.0  # mm below the paper for scale and notice
_RAISES, _LOWERS, _CALIPER = "#b3261e", "#1f5faf", "#0b5cad"
_MARK, _WARNING_TEXT = "#1b7f3b", "#8a3b00"
_SPANS = {  # color and opacity, as on the canvas
    "P": ("#1b7f3b", 0.20),
    "QRS": ("#0b5cad", 0.20),
    "T": ("#963cb4", 0.20),
    "warning": ("#f5a623", 0.30),
    "match": ("#4a2fc9", 0.14),
}
_SPAN_HALF = 7.0  # half of their height, mm
_RIBBON = 2.2  # half of its height, mm


@plain_style()
def draw(
    paper: Paper,
    signals_mv: np.ndarray,
    footer: str = "",
    heat: np.ndarray | None = None,
    calipers: Sequence[dict[str, Any]] = (),
    marks: Sequence[dict[str, Any]] = (),
    spans: Sequence[dict[str, Any]] = (),
) -> Figure:
    """Draw what the canvas shows.

    ``footer``: what was filtered, which model and class the colors belong to. ``marks``, ``spans``: as in
    `explorer.canvas.canvas_data`.

    Shapes: signals_mv (T, 12), heat (T, 12).
    """
    width, height = paper.width, paper.height + _FOOT
    figure = Figure(figsize=(width / 25.4, height / 25.4), facecolor="white")
    axes = figure.add_axes((0, _FOOT / height, 1, paper.height / height), facecolor=PAPER)
    axes.set(xlim=(0, width), ylim=(paper.height, 0))
    axes.axis("off")
    axes.add_patch(matplotlib.patches.Rectangle((0, 0), width, paper.height, color=PAPER, lw=0, zorder=0))
    for step, color, line in ((1, THIN, 0.35), (5, THICK, 0.55)):
        lines = [[(float(x), 0.0), (float(x), paper.height)] for x in range(0, int(width) + 1, step)]
        lines += [[(0.0, float(y)), (width, float(y))] for y in range(0, int(paper.height) + 1, step)]
        axes.add_collection(LineCollection(lines, colors=color, linewidths=line, zorder=1))
    scaled = None if heat is None else color_strength(heat)
    for segment in paper.segments:
        _spans(axes, paper, segment, spans)
        _trace(axes, paper, segment, signals_mv, scaled)
        _marks(axes, paper, segment, signals_mv, marks)
    for caliper in calipers:
        _caliper(axes, paper, caliper)
    scale = f"{paper.speed:g} mm/s   {paper.gain:g} mm/mV"
    figure.text(
        0.01, 0.62 * _FOOT / height, f"{scale}   {footer}".strip(), fontsize=8, color=GRAY, parse_math=False
    )
    figure.text(0.01, 0.22 * _FOOT / height, NOT_A_DEVICE, fontsize=8, color=GRAY)
    return figure


def _trace(axes: Any, paper: Paper, segment: Segment, signals: np.ndarray, heat: np.ndarray | None) -> None:
    column = LEADS.index(segment.lead)
    samples = np.arange(segment.start, segment.stop)
    x, y = paper.place(segment, samples, signals[segment.start : segment.stop, column])
    if heat is not None:
        values = heat[segment.start : segment.stop, column]
        strong = np.abs(values) >= 0.02
        half = paper.speed / paper.sampling_rate / 2
        boxes = [
            [
                (a - half, b - _RIBBON),
                (a + half, b - _RIBBON),
                (a + half, b + _RIBBON),
                (a - half, b + _RIBBON),
            ]
            for a, b in zip(x[strong], y[strong], strict=True)
        ]
        colors = [
            (*matplotlib.colors.to_rgb(_RAISES if value > 0 else _LOWERS), 0.75 * abs(value))
            for value in values[strong]
        ]
        axes.add_collection(PolyCollection(boxes, facecolors=colors, linewidths=0, zorder=2))
    axes.plot(x, y, color=INK, linewidth=0.8, solid_joinstyle="round", zorder=4)
    first = segment.start == 0
    if first:  # 1 mV for 0.2 s
        left = segment.x - 11
        end = min(left + 0.2 * paper.speed, segment.x - 2)
        places = [left - 1.5, left, left, end, end, end + 1.5]
        axes.plot(
            places, segment.y - np.array([0, 0, 1, 1, 0, 0]) * paper.gain, color=INK, linewidth=0.8, zorder=4
        )
    place = (segment.x - 13, segment.y - paper.gain - 1.5) if first else (segment.x + 1, segment.y - 8)
    axes.text(*place, segment.label, fontsize=10, weight="bold", color=INK, zorder=5)


def _spans(axes: Any, paper: Paper, segment: Segment, spans: Sequence[dict[str, Any]]) -> None:
    """Waves and warnings behind the trace, as on the canvas."""
    for span in spans:
        first, last = max(span["start"], segment.start), min(span["stop"], segment.stop)
        if (span["lead"] and span["lead"] != segment.lead) or last <= first:
            continue
        left, right = paper.place(segment, np.array([first, last]), 0)[0]
        color, strength = _SPANS.get(span["kind"], _SPANS["warning"])
        box = ((left, segment.y - _SPAN_HALF), right - left, 2 * _SPAN_HALF)
        axes.add_patch(matplotlib.patches.Rectangle(*box, color=color, alpha=strength, lw=0, zorder=1.5))
        if span["text"]:
            place = (left + 0.5, segment.y + _SPAN_HALF - 0.5)
            axes.text(*place, span["text"], fontsize=7, color=_WARNING_TEXT, zorder=5, parse_math=False)


def _marks(
    axes: Any, paper: Paper, segment: Segment, signals: np.ndarray, marks: Sequence[dict[str, Any]]
) -> None:
    """Letters above the samples, as on the canvas."""
    column = LEADS.index(segment.lead)
    for mark in marks:
        sample = mark["sample"]
        if (mark["lead"] and mark["lead"] != segment.lead) or not segment.start <= sample < segment.stop:
            continue
        x, y = paper.place(segment, sample, signals[sample, column])
        axes.text(x - 1, y - 1.2, mark["text"], fontsize=7, color=_MARK, zorder=5, parse_math=False)


def _caliper(axes: Any, paper: Paper, caliper: dict[str, Any]) -> None:
    """Draw a caliper as the canvas reports it."""
    first, second = float(caliper["a"]), float(caliper["b"])
    line: dict[str, Any] = {"color": _CALIPER, "linewidth": 0.9, "zorder": 6}
    if caliper["kind"] == "time":
        origin = next(segment for segment in paper.segments if segment.start == 0)
        at = [paper.place(origin, sample, 0)[0] for sample in (first, second)]
        axes.vlines(at, 0, paper.height, **line)
        text = f"{interval(first, second, paper.sampling_rate):.0f} ms"
        axes.text(max(at) + 1, 4, text, fontsize=8, color=_CALIPER, zorder=6)
        return
    segment = paper.segments[int(caliper["segment"])]
    at = [paper.place(segment, 0, millivolts)[1] for millivolts in (first, second)]
    end = paper.place(segment, segment.stop, 0)[0]
    axes.hlines(at, segment.x, end, **line)
    axes.text(segment.x + 8, min(at) - 1, f"{second - first:.3f} mV", fontsize=8, color=_CALIPER, zorder=6)


def render(figure: Figure, kind: str, dpi: float = 200) -> bytes:
    """A drawing as a file's content; the same bytes for the same drawing."""
    if kind not in FORMATS:
        raise UsageError(f"unknown format '{kind}': use {', '.join(FORMATS)}")
    if kind == "png":
        return png(figure, dpi)
    content = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Producer": None}}
    with matplotlib.rc_context({"svg.hashsalt": "twelvelead", "pdf.fonttype": 42}):
        FigureCanvasAgg(figure)
        figure.savefig(content, format=kind, metadata=metadata[kind])
    return content.getvalue()

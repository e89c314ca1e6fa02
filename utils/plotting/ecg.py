"""Pictures: the 12-lead ECG on true paper scale with attention on it, and the importance of the leads."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from utils.ecg import DISPLAY_NAMES, LEADS, NOT_A_DEVICE, display_name
from utils.errors import DataError, UsageError, nearest
from utils.files import write_bytes
from utils.plotting.ecg_marks import Mark, name_marks, paint_marks
from utils.plotting.ecg_paper import (
    GRAY,
    GUTTER,
    INK,
    LEFT,
    MM_PER_MV,
    MM_PER_SECOND,
    NARROWEST,
    PAPER,
    calibration_pulse,
    new_paper,
    row_offsets,
    time_axis,
)
from utils.plotting.style import plain_style
from utils.report.page import fill, register_section, write_page
from utils.text import printable

LONGEST_SECONDS = 120
# 5 pixels a millimeter: every grid line falls on whole pixels.
DPI = 127
LAYOUTS = {"12x1": (12, 1), "6x2": (6, 2)}

_STRONG = "#4a2fc9"
# Clear paper to strong violet: lightness alone carries the value, so color blindness takes nothing away.
HEAT_COLORS = LinearSegmentedColormap.from_list("attention", [(_STRONG, 0.0), (_STRONG, 0.85)], N=64)
_WARNING, _WARNING_TEXT = "#f5a623", "#8a3b00"
_LONGEST_NAME = 4  # characters of a lead that fit in large letters
_MARKED = 7.0  # half the height of a painted stretch, mm
_RIBBON = 2.2  # half of its height, mm


class Stretch(NamedTuple):
    """A stretch of one lead to paint on, in seconds of the time axis; a lost one is drawn near its line."""

    lead: str
    start: float
    end: float
    text: str
    lost: bool


@plain_style()
def plot_ecg(
    signals_mv: np.ndarray,
    sampling_rate: float,
    path: str | os.PathLike | None,
    title: str = "12-lead ECG",
    heat: np.ndarray | None = None,
    heat_label: str = "",
    subtitle: str = "",
    channel: np.ndarray | None = None,
    layout: str = "12x1",
    clip_percentile: float | None = None,
    dpi: int = DPI,
    stretches: Sequence[Stretch] = (),
    begin: float = 0.0,
    marks: Sequence[Mark] = (),
    leads: Sequence[str] = LEADS,
) -> Figure:
    """Draw a 12-lead ECG on paper: 25 mm/s and 10 mm/mV, in real millimeters when printed at its own size.

    Each lead is shifted so that its median lies on its line (a constant offset means nothing in an ECG);
    nothing else is done to the signal. A trace that an artifact takes off the paper is named.

    `heat` (not negative, such as the attention of each sample) becomes a ribbon under the trace. Its color
    bar runs exactly from the smallest to the largest value drawn, on a square-root scale, because attention
    has few high peaks; with `clip_percentile` it ends there and says so with an arrow.

    ``signals_mv``: mV, leads in the order of `utils.ecg.LEADS`; up to 120 s.
    ``path``: PNG to write; None only returns the figure.
    ``heat_label``: meaning and unit of `heat`, beside the color bar.
    ``subtitle``: second line, for example the predictions.
    ``channel``: importance of each lead (shares that sum to 1), written as % beside the lead names.
    ``layout``: ``12x1``: every lead over the whole record. ``6x2``: limb leads over its first half, chest
        leads over its second, as on clinical printouts.
    ``stretches``: warnings to paint behind the traces. ``begin``: second at which the time axis starts.
    ``marks``: waves and peaks, in seconds of that axis.
    ``leads``: other leads than the twelve are drawn one below the other.

    Shapes: signals_mv (T, leads), heat (T, leads), channel (12,).
    """
    signals = _check_leads("signals_mv", signals_mv, leads)
    if heat is not None:
        heat = _check_leads("heat", heat, leads, smallest=0)
        if heat.shape != signals.shape:
            raise DataError(f"heat {heat.shape} and signals {signals.shape} must have the same shape")
    importance = None if channel is None else _check_importance(channel)
    _check_paper(layout, len(signals), sampling_rate)
    rows, columns = LAYOUTS[layout] if tuple(leads) == LEADS else (len(leads), 1)
    part = math.ceil(len(signals) / columns)
    spans = [(c * part, min((c + 1) * part, len(signals))) for c in range(columns)]
    millimeters = _on_lines(signals, leads, stretches, begin, sampling_rate)
    offsets, height = row_offsets(millimeters, sampling_rate, rows, spans)
    column_width = GUTTER + 5 * math.ceil(part / sampling_rate * MM_PER_SECOND / 5)
    width = max(columns * column_width + 5, NARROWEST)
    figure, axes = new_paper(width, height, title, subtitle, heat is not None)
    if heat is not None:
        shown = [heat[a:b, c * rows : (c + 1) * rows].ravel() for c, (a, b) in enumerate(spans)]
        norm, clipped = _limits(np.concatenate(shown), clip_percentile)
        _heat_bar(figure, norm, clipped, heat_label)
    beyond, colors = [], name_marks(axes, marks, (GUTTER, height - 4))
    for lead, name in enumerate(leads):
        row, column = lead % rows, lead // rows
        start, stop = spans[column]
        left = GUTTER + column * column_width
        x = left + np.arange(stop - start) / sampling_rate * MM_PER_SECOND
        y = offsets[row] + millimeters[start:stop, lead]
        if heat is not None:
            _ribbon(axes, x, y, heat[start:stop, lead], norm)
        second, span = begin + start / sampling_rate, (left, x[-1])
        _paint_warnings(axes, stretches, name, second, span, offsets[row])
        paint_marks(axes, marks, name, colors, second, span, offsets[row])
        axes.plot(x, y, color=INK, linewidth=0.8, solid_joinstyle="round", zorder=4)
        if y.min() < 0 or y.max() > height:
            beyond.append(display_name(name))
        if column == 0:
            calibration_pulse(axes, offsets[row])
        _lead_name(axes, left - 2 if column else -2.5, offsets[row], name, importance, lead)
    if beyond:
        axes.text(1.5, 1.2, f"beyond the paper: {', '.join(beyond)}", fontsize=8, color=INK, zorder=5)
    time_axis(axes, sampling_rate, spans, column_width, begin)
    if path is not None:
        write_bytes(path, png(figure, dpi, optimize=False))
    return figure


def _on_lines(
    signals: np.ndarray,
    leads: Sequence[str],
    stretches: Sequence[Stretch],
    begin: float,
    sampling_rate: float,
) -> np.ndarray:
    """Millimeters from the line of each lead, its median without lost stretches; those are cut short."""
    present = np.ones(signals.shape, dtype=bool)
    for stretch in (stretch for stretch in stretches if stretch.lost):
        first, last = (round((second - begin) * sampling_rate) for second in (stretch.start, stretch.end))
        present[max(first, 0) : last, leads.index(stretch.lead)] = False
    levels = [
        np.median(signals[part, i] if part.any() else signals[:, i]) for i, part in enumerate(present.T)
    ]
    millimeters = (signals - np.array(levels)) * MM_PER_MV
    return np.where(present, millimeters, np.clip(millimeters, -_MARKED, _MARKED))


def _paint_warnings(
    axes: Axes,
    stretches: Sequence[Stretch],
    lead: str,
    second: float,
    span: tuple[float, float],
    offset: float,
) -> None:
    """Paint the warnings about a lead."""
    for number, stretch in enumerate(s for s in stretches if s.lead == lead):
        _paint(axes, stretch, second, span, offset, number % 3)


def _paint(
    axes: Axes, stretch: Stretch, second: float, span: tuple[float, float], offset: float, line: int
) -> None:
    """Paint a warning behind a trace that begins at `second`, and write on one of three lines what it is."""
    left, right = (
        float(np.clip(span[0] + (place - second) * MM_PER_SECOND, *span))
        for place in (stretch.start, stretch.end)
    )
    right = max(right, left + 1.0)  # a stretch of one sample is seen, too
    box = Rectangle(
        (left, offset - _MARKED), right - left, 2 * _MARKED, color=_WARNING, alpha=0.3, lw=0, zorder=1.5
    )
    axes.add_patch(box)
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    axes.text(
        min(left + 0.8, span[1] - 12),
        offset - _MARKED + 0.5 + 3 * line,
        stretch.text,
        fontsize=7.5,
        color=_WARNING_TEXT,
        va="bottom",
        bbox=white,
        zorder=5,
    )


def _check_paper(layout: str, samples: int, sampling_rate: float) -> None:
    """Refuse an unknown layout and a record that is too long to draw."""
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout '{layout}': {nearest(layout, LAYOUTS)}")
    if not sampling_rate > 0:
        raise UsageError(f"the sampling rate must be positive, got {sampling_rate}")
    seconds = samples / sampling_rate
    if seconds > LONGEST_SECONDS:
        raise UsageError(f"the record lasts {seconds:.0f} s; draw at most {LONGEST_SECONDS} s: cut it first")


def _lead_name(axes: Axes, x: float, y: float, name: str, importance: np.ndarray | None, lead: int) -> None:
    """Write the name of a lead and, below it, its share of the importance."""
    shown, size = printable(display_name(name), 12), 11 if len(name) <= _LONGEST_NAME else 7
    axes.text(x, y, shown, ha="right", va="center", fontsize=size, weight="bold", parse_math=False)
    if importance is not None:
        axes.text(
            x, y - 4.6, f"{100 * importance[lead]:.1f} %", ha="right", va="center", fontsize=8, color=GRAY
        )


@plain_style()
def plot_channels(
    importance: np.ndarray,
    path_png: str | os.PathLike,
    path_html: str | os.PathLike,
    title: str = "Importance of each lead",
) -> Figure:
    """Draw the importance of the twelve leads as bars, as PNG and as a small HTML page without scripts.

    Shapes: importance (12,).
    """
    shares = 100 * _check_importance(importance)
    figure = Figure(figsize=(8, 4.2), facecolor="white")
    axes = figure.add_axes((0.08, 0.17, 0.84, 0.68))
    axes.axhline(100 / 12, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    bars = axes.bar(DISPLAY_NAMES, shares, color=_STRONG, width=0.7, zorder=2)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    axes.bar_label(bars, [f"{s:.1f}" for s in shares], fontsize=9, padding=2, bbox=white)
    # beside the axes, where no bar's number can be
    axes.annotate(
        "uniform", (1, 100 / 12), (3, 0), ("axes fraction", "data"), "offset points", fontsize=8, va="center"
    )
    axes.set_ylabel("share of attention (%)")
    axes.set_ylim(0, max(shares.max() * 1.12, 10))
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.08, 0.91, printable(title), fontsize=13, weight="bold", parse_math=False)
    figure.text(0.08, 0.03, NOT_A_DEVICE, fontsize=8, color=GRAY)
    write_bytes(path_png, png(figure, DPI, optimize=False))
    facts = {
        "title": title,
        "shares": list(zip(DISPLAY_NAMES, shares.tolist(), strict=True)),
        "scale": 420 / max(shares.max(), 10),
        "uniform": 100 / 12,
        "fill": _STRONG,
    }
    write_page(path_html, "channels", title, facts)
    return figure


def _check_leads(
    name: str, values: np.ndarray, leads: Sequence[str], smallest: float = -np.inf
) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(leads) or len(array) < 2:
        raise DataError(f"{name} must be (samples, {len(leads)} leads), got {array.shape}")
    bad = ~(np.isfinite(array) & (array >= smallest))
    if bad.any():
        sample, lead = np.argwhere(bad)[0]
        or_negative = " or negative" if smallest == 0 else ""
        raise DataError(
            f"{name} holds {bad.sum()} values that cannot be drawn (NaN, infinite{or_negative}), "
            f"the first in lead {display_name(leads[lead])} at sample {sample}: {array[sample, lead]}"
        )
    return array


def _check_importance(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (12,) or not (array >= 0).all() or not math.isclose(array.sum(), 1, abs_tol=1e-3):
        raise DataError(
            f"lead importance must be 12 shares >= 0 that sum to 1, got {array.round(4).tolist()}"
        )
    return array


def _limits(shown: np.ndarray, clip_percentile: float | None) -> tuple[PowerNorm, bool]:
    """Color limits: exactly what is drawn, or up to a percentile of it; one constant value starts at 0."""
    low, high = float(shown.min()), float(shown.max())
    top = high if clip_percentile is None else float(np.percentile(shown, clip_percentile))
    if top <= low:
        low, top = (0.0, top) if top > 0 else (0.0, 1.0)
    return PowerNorm(0.5, low, top, clip=True), top < high


def _ribbon(axes: Axes, x: np.ndarray, y: np.ndarray, heat: np.ndarray, norm: PowerNorm) -> None:
    """Color a band along the trace; each sample owns the band from half way before to half way after it."""
    places = np.arange(len(x) + 1) - 0.5
    edges_x, edges_y = (np.interp(places, np.arange(len(x)), v) for v in (x, y))
    grid_y = np.stack([edges_y - _RIBBON, edges_y + _RIBBON])
    axes.pcolormesh(np.stack([edges_x, edges_x]), grid_y, heat[None], cmap=HEAT_COLORS, norm=norm, zorder=2)


def _heat_bar(figure: Figure, norm: PowerNorm, clipped: bool, label: str) -> None:
    ticks = np.asarray(norm.inverse(np.linspace(0, 1, 5))).tolist()
    labels = {tick: f"{tick:.2g}" if tick < 10 else f"{tick:.0f}" for tick in ticks}
    note = "; square-root scale" + ("; stronger values share the last color" if clipped else "")
    color_bar(figure, ScalarMappable(norm, HEAT_COLORS), labels, label + note, clipped)


def color_bar(
    figure: Figure, scale: ScalarMappable, labels: Mapping[float, str], words: str, clipped: bool = False
) -> None:
    """Draw a color bar under the paper; ``labels``: its ticks."""
    width, height = figure.get_size_inches() * 25.4
    axes = figure.add_axes((LEFT / width, 15 / height, 80 / width, 3 / height))
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal", extend="max" if clipped else "neither")
    axes.set_facecolor(PAPER)
    bar.set_ticks(list(labels), labels=list(labels.values()), fontsize=8)
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)
    figure.text(LEFT / width, 20.5 / height, words, fontsize=9, va="center", color=INK, parse_math=False)


@plain_style()
def png(
    figure: Figure,
    dpi: float = DPI,
    colors: int = 0,
    method: Image.Quantize | None = None,
    optimize: bool = True,
) -> bytes:
    """A figure as PNG without transparency, date or version: the same bytes for the same figure.

    ``colors``: of a palette, for a smaller file; 0: all.
    """
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if colors:
        picture = picture.quantize(colors, method=method, dither=Image.Dither.NONE)
    content = io.BytesIO()
    picture.save(content, "PNG", dpi=(dpi, dpi), optimize=optimize)
    return content.getvalue()


register_section("channels", "shares", lambda facts, images: fill("utils.report/channels.html", **facts))

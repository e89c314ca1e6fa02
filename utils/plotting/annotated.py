"""A recording on ECG paper with what is annotated in it: waves, beats and rhythms."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError, UsageError
from utils.files import write_bytes
from utils.plotting.ecg import DPI, LONGEST_SECONDS, png
from utils.plotting.ecg_paper import (
    GRAY,
    GUTTER,
    INK,
    MM_PER_MV,
    MM_PER_SECOND,
    NARROWEST,
    calibration_pulse,
    new_paper,
    row_offsets,
    time_axis,
)
from utils.plotting.style import plain_style

# distinct in lightness too; the kind is written beside the first wave of each
WAVE_COLORS = {"P": "#2b6cb0", "QRS": "#c05621", "T": "#2f855a", "U": "#805ad5"}
_RHYTHM = ("#4a5568", "#a0aec0")  # neighbors differ
_HALF = 6.0  # half the height of a painted wave, mm
_STRIP = 12  # height of the strips above (beats) and below (rhythms) the traces, mm


class Wave(NamedTuple):
    """A delineated wave, in seconds of the time axis; an empty lead stands for all of them."""

    lead: str
    start: float
    end: float
    kind: str


class Interval(NamedTuple):
    """A stretch with a name, in seconds of the time axis."""

    start: float
    end: float
    name: str


@plain_style()
def plot_annotated(
    signals_mv: np.ndarray,
    sampling_rate: float,
    leads: Sequence[str],
    path: str | os.PathLike | None,
    title: str = "",
    subtitle: str = "",
    waves: Sequence[Wave] = (),
    beats: Sequence[tuple[float, str]] = (),
    rhythms: Sequence[Interval] = (),
    begin: float = 0.0,
) -> Figure:
    """Draw any number of leads, each over the whole time, with annotations around them.

    ``path``: PNG to write; None only returns the figure. ``beats``: second and symbol of each. ``begin``:
    second at which the time axis starts.

    Shapes: signals_mv (T, leads).
    """
    signals = np.asarray(signals_mv, dtype=np.float64)
    if signals.ndim != 2 or signals.shape[1] != len(leads) or len(signals) < 2:
        raise DataError(f"a picture needs at least two samples of {len(leads)} leads, got {signals.shape}")
    seconds = len(signals) / sampling_rate
    if seconds > LONGEST_SECONDS:
        raise UsageError(f"{seconds:.0f} s are too long for a picture: draw at most {LONGEST_SECONDS} s")
    millimeters = np.nan_to_num((signals - np.nanmedian(signals, axis=0)) * MM_PER_MV)
    spans = [(0, len(signals))]
    offsets, height = row_offsets(millimeters, sampling_rate, len(leads), spans)
    offsets = offsets + (_STRIP if rhythms else 0)
    height += _STRIP * bool(rhythms) + _STRIP * bool(beats)
    width = GUTTER + 5 * math.ceil(seconds * MM_PER_SECOND / 5)
    figure, axes = new_paper(max(width + 5, NARROWEST), height, title, subtitle, has_bar=False)
    x = GUTTER + np.arange(len(signals)) / sampling_rate * MM_PER_SECOND
    for row, lead in enumerate(leads):
        own = [wave for wave in waves if wave.lead in ("", lead)]
        _paint_waves(axes, own, offsets[row], begin, x[-1])
        axes.plot(x, offsets[row] + millimeters[:, row], color=INK, linewidth=0.8, zorder=4)
        shown = DISPLAY_NAMES[LEADS.index(lead)] if lead in LEADS else lead
        axes.text(-2.5, offsets[row], shown, ha="right", va="center", fontsize=11, weight="bold")
        calibration_pulse(axes, offsets[row])
    for second, symbol in beats:
        place = GUTTER + (second - begin) * MM_PER_SECOND
        axes.plot([place, place], [height - 6, height - 4], color=INK, linewidth=0.8, zorder=4)
        axes.text(place, height - 3.5, symbol, ha="center", fontsize=9, zorder=5, parse_math=False)
    _paint_rhythms(axes, rhythms, begin, x[-1])
    time_axis(axes, sampling_rate, spans, width, begin)
    if path is not None:
        write_bytes(path, png(figure, DPI, optimize=False))
    return figure


def _places(start: float, end: float, begin: float, right: float) -> tuple[float, float]:
    """Millimeters of a stretch on the paper, as far as it is on it."""
    places = (GUTTER + (second - begin) * MM_PER_SECOND for second in (start, end))
    left, stop = (float(np.clip(place, GUTTER, right)) for place in places)
    return left, stop


def _paint_waves(axes: Axes, waves: Sequence[Wave], offset: float, begin: float, right: float) -> None:
    named = set()
    for wave in waves:
        left, stop = _places(wave.start, wave.end, begin, right)
        color = WAVE_COLORS.get(wave.kind, GRAY)
        box = (left, offset - _HALF), stop - left, 2 * _HALF
        axes.add_patch(Rectangle(*box, color=color, alpha=0.25, lw=0, zorder=1.5))
        if wave.kind not in named:
            named.add(wave.kind)
            middle = (left + stop) / 2
            below: dict[str, Any] = {"ha": "center", "va": "top", "zorder": 5}
            axes.text(middle, offset - _HALF, wave.kind, fontsize=8, color=color, **below)


def _paint_rhythms(axes: Axes, rhythms: Sequence[Interval], begin: float, right: float) -> None:
    for number, rhythm in enumerate(rhythms):
        left, stop = _places(rhythm.start, rhythm.end, begin, right)
        color = _RHYTHM[number % 2]
        axes.add_patch(Rectangle((left, 4), stop - left, 2, color=color, lw=0, zorder=2))
        axes.text(left + 0.5, 7, rhythm.name, fontsize=9, color=_RHYTHM[0], zorder=5, parse_math=False)

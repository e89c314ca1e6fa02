"""Where each lead is drawn on ECG paper, in millimeters; the canvas and the exports share it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from utils.ecg import LEADS, display_name
from utils.errors import DataError, UsageError, nearest

SPEEDS = (25.0, 50.0)  # mm/s
GAINS = (5.0, 10.0, 20.0)  # mm/mV
LAYOUTS = {  # columns of the twelve leads, and leads that are repeated over the whole record
    "3x4+1": (4, ("II",)),
    "3x4": (4, ()),
    "3x4+3": (4, ("V1", "II", "V5")),
    "6x2": (2, ()),
    "12x1": (1, ()),
}
ORDERS = ("standard", "Cabrera")
# Cabrera's order shows the frontal plane from -30 to 120 degrees; aVR is inverted for it.
_CABRERA = ("AVL", "I", "-AVR", "II", "AVF", "III")

MARGIN = 5.0  # mm around the traces
GUTTER = 15.0  # mm before the first column: calibration pulse and lead name
_SMALLEST_PITCH, _LARGEST_PITCH, _CLEARANCE = 15.0, 60.0, 4.0
_INK = 5.0  # mm that a lead name needs above its line


@dataclass(frozen=True)
class Segment:
    """A part of one lead in its place.

    ``sign``: -1 where the lead is drawn inverted. ``start``, ``stop``: samples. ``x``: mm of sample `start`
    from the left, ``y``: mm of the lead's line from the top. ``level``: mV that lie on the line.
    """

    lead: str
    label: str
    sign: int
    start: int
    stop: int
    x: float
    y: float
    level: float


@dataclass(frozen=True)
class Paper:
    """A page: its size in mm, its scales, and its segments in the order of rows."""

    layout: str
    order: str
    speed: float
    gain: float
    sampling_rate: float
    width: float
    height: float
    segments: tuple[Segment, ...]

    def place(self, segment: Segment, sample: Any, millivolts: Any) -> tuple[Any, Any]:
        """Millimeters from the left and from the top of points of a segment (numbers or arrays)."""
        x = segment.x + (sample - segment.start) / self.sampling_rate * self.speed
        return x, segment.y - segment.sign * (millivolts - segment.level) * self.gain

    def locate(self, segment: Segment, x: Any, y: Any) -> tuple[Any, Any]:
        """Sample, counted from the start of the record, and mV of points of a segment."""
        sample = segment.start + (x - segment.x) / self.speed * self.sampling_rate
        return sample, segment.level + segment.sign * (segment.y - y) / self.gain

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON, for the canvas."""
        return asdict(self)


def make_paper(
    signals_mv: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+1",
    order: str = "standard",
    speed: float = 25.0,
    gain: float = 10.0,
) -> Paper:
    """Place twelve leads so that the traces of neighboring rows do not touch.

    Each lead's median lies on its line, because a constant offset means nothing in an ECG.

    Shapes: signals_mv (T, 12), in mV, leads in the order of `utils.ecg.LEADS`.
    """
    _check(signals_mv, sampling_rate, layout, order, speed, gain)
    columns, repeated = LAYOUTS[layout]
    samples = len(signals_mv)
    rows = [*_grid(columns, order), *([lead] for lead in repeated)]
    part = math.ceil(samples / columns)
    levels = np.median(signals_mv, axis=0)
    placed: list[list[tuple[str, int, int, float]]] = []  # lead, first and last sample, x
    for leads in rows:
        width = part if len(leads) == columns else samples
        starts = [min(column * width, samples) for column in range(len(leads))]
        placed.append(
            [
                (lead, start, min(start + width, samples), MARGIN + GUTTER + start / sampling_rate * speed)
                for lead, start in zip(leads, starts, strict=True)
            ]
        )
    reach = [[_reach(signals_mv, levels, place, gain) for place in row] for row in placed]
    lines = _lines(reach)
    segments = tuple(
        _segment(place, line, levels)
        for row, line in zip(placed, lines, strict=True)
        for place in row
        if place[2] > place[1]
    )
    width = math.ceil(2 * MARGIN + GUTTER + samples / sampling_rate * speed)
    height = math.ceil(lines[-1] + max(down for _, down in reach[-1]) + MARGIN)
    return Paper(layout, order, speed, gain, sampling_rate, width, height, segments)


def _check(
    signals: np.ndarray, sampling_rate: float, layout: str, order: str, speed: float, gain: float
) -> None:
    for what, value, known in (
        ("layout", layout, LAYOUTS),
        ("order of the leads", order, ORDERS),
        ("paper speed", speed, SPEEDS),
        ("gain", gain, GAINS),
    ):
        if value not in known:
            names = [str(name) for name in known]
            raise UsageError(f"unknown {what} '{value}': {nearest(str(value), names)}")
    if signals.ndim != 2 or signals.shape[1] != len(LEADS) or len(signals) < 2:
        raise DataError(f"signals must be (samples, 12 leads), got {signals.shape}")
    if not np.isfinite(signals).all():
        sample, lead = np.argwhere(~np.isfinite(signals))[0]
        raise DataError(f"lead {display_name(LEADS[lead])} has no value at sample {sample}: nothing to draw")
    if not sampling_rate > 0:
        raise UsageError(f"the sampling rate must be positive, got {sampling_rate}")


def _grid(columns: int, order: str) -> list[list[str]]:
    """Rows of leads; a leading minus inverts."""
    limb = list(LEADS[:6]) if order == "standard" else list(_CABRERA)
    leads = limb + list(LEADS[6:])
    rows = len(leads) // columns
    return [leads[row::rows] for row in range(rows)]


def _reach(
    signals: np.ndarray, levels: np.ndarray, place: tuple[str, int, int, float], gain: float
) -> tuple[float, float]:
    """Millimeters that a trace reaches above and below its line."""
    lead, start, stop, _ = place
    column = LEADS.index(lead.removeprefix("-"))
    trace = (signals[start:stop, column] - levels[column]) * gain * (-1 if lead.startswith("-") else 1)
    return float(max(trace.max(initial=0.0), _INK)), float(max(-trace.min(initial=0.0), 0.0))


def _lines(reach: Sequence[Sequence[tuple[float, float]]]) -> list[float]:
    """Millimeters of each row's line from the top, in steps of 5 mm, which are the thick lines."""
    first = MARGIN + max(up for up, _ in reach[0])
    lines = [5.0 * math.ceil(first / 5)]
    for above, below in pairwise(reach):
        pairs = zip(above, below, strict=True) if len(above) == len(below) else [(_most(above), _most(below))]
        gap = max(upper[1] + lower[0] for upper, lower in pairs) + _CLEARANCE
        lines.append(lines[-1] + 5.0 * math.ceil(min(max(gap, _SMALLEST_PITCH), _LARGEST_PITCH) / 5))
    return lines


def _most(row: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return max(up for up, _ in row), max(down for _, down in row)


def _segment(place: tuple[str, int, int, float], line: float, levels: np.ndarray) -> Segment:
    lead, start, stop, x = place
    name = lead.removeprefix("-")
    sign = -1 if lead.startswith("-") else 1
    label = ("-" if sign < 0 else "") + display_name(name)
    return Segment(name, label, sign, start, stop, x, line, float(levels[LEADS.index(name)]))

"""Small charts as inline SVG: the same bytes for the same numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from utils.ecg import DISPLAY_NAMES, LEADS
from utils.report.page import fill

FIRST, SECOND, PLAIN, PALE = "#4a2fc9", "#b8500b", "#767676", "#d5cef5"
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 8, 34  # px round the plot
_MM_PER_SECOND, _MM_PER_10_MICROVOLTS = 25.0, 0.1
_ROW, _COLUMN = 24.0, 65.0  # mm: 2.5 s and a gap


@dataclass(frozen=True)
class Line:
    """A line; it is broken where a value is missing."""

    x: Sequence[float]
    y: Sequence[float | None]
    color: str = FIRST
    dash: str = ""


@dataclass(frozen=True)
class Dots:
    """Points, with bars from ``low`` to ``high``."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    color: str = FIRST


@dataclass(frozen=True)
class Bars:
    """Bars of one width from ``base`` up, the first at the left end of the axis."""

    height: Sequence[float]
    base: Sequence[float]
    color: str = FIRST


Part = Line | Dots | Bars


def chart(
    parts: Sequence[Part],
    words: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
    size: tuple[int, int] = (232, 200),
    whole: bool = False,
) -> Markup:
    """A chart; ``words`` say what it shows to those who do not see it.

    ``whole``: the horizontal axis counts something and has marks at whole numbers alone.
    """
    frame = _Frame(x_range, y_range, size)
    drawn = [frame.draw(part) for part in parts]
    ticks = [(_place(frame.x(v)), _tick(v, x_range)) for v in _ticks(*x_range, whole)]
    levels = [(_place(frame.y(v)), _tick(v, y_range)) for v in _ticks(*y_range)]
    box = (_LEFT, _TOP, size[0] - _RIGHT, size[1] - _BOTTOM)
    return fill(
        "explain.report/chart.html", words=words, x_label=x_label, y_label=y_label, size=size, box=box,
        ticks=ticks, levels=levels, parts=drawn,
    )  # fmt: skip


class _Frame:
    """From numbers to pixels."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], size: tuple[int, int]):
        self.x_range, self.y_range, self.size = x_range, y_range, size

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / ((high - low) or 1) * (self.size[0] - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.size[1] - _BOTTOM - (value - low) / ((high - low) or 1) * (self.size[1] - _TOP - _BOTTOM)

    def draw(self, part: Part) -> dict[str, Any]:
        """What the template needs of a part."""
        drawn: dict[str, Any] = {"kind": type(part).__name__, "color": part.color}
        if isinstance(part, Line):
            return drawn | {"path": self._path(part), "dash": part.dash}
        if isinstance(part, Dots):
            rows = zip(part.x, part.y, part.low, part.high, strict=True)
            return drawn | {"dots": [self._dot(*row) for row in rows]}
        width = (self.size[0] - _LEFT - _RIGHT) / max(len(part.height), 1)
        boxes = []
        for number, (height, base) in enumerate(zip(part.height, part.base, strict=True)):
            if height:
                top, bottom = self.y(base + height), self.y(base)
                left = _LEFT + number * width
                boxes.append([_place(v) for v in (left + 0.5, top, width - 1, bottom - top)])
        return drawn | {"boxes": boxes}

    def _dot(self, x: float, y: float, low: float | None, high: float | None) -> list[str]:
        ends = [y if low is None else low, y if high is None else high]
        return [_place(self.x(x)), _place(self.y(y)), *(_place(self.y(v)) for v in ends)]

    def _path(self, line: Line) -> str:
        words, pen = [], "M"
        for x, y in zip(line.x, line.y, strict=True):
            if y is None:
                pen = "M"
                continue
            words.append(f"{pen}{_place(self.x(x))} {_place(self.y(y))}")
            pen = "L"
        return "".join(words)


def _place(pixels: float) -> str:
    return f"{pixels:.1f}".removesuffix(".0")


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Four to six round numbers of a range; fewer where it has no more whole numbers."""
    if high <= low:
        return [low]
    step = 10.0 ** (len(str(int(1 / (high - low)))) * -1 if high - low < 1 else len(str(int(high - low))) - 1)
    while (high - low) / step < 4:
        step /= 2
    while (high - low) / step > 6:
        step *= 2
    step = max(step, 1.0) if whole else step
    first = -(-low // step)
    return [round((first + n) * step, 10) for n in range(int((high - first * step) / step + 1e-9) + 1)]


def _tick(value: float, limits: tuple[float, float]) -> str:
    return f"{value:,.0f}" if limits[1] - limits[0] >= 8 else f"{value:.4g}"


def ecg(picture: Mapping[str, Any], words: str) -> Markup:
    """A record on paper, 25 mm/s and 10 mm/mV: three rows of four leads, a quarter of the record each."""
    scale = _MM_PER_SECOND / picture["rate"]
    traces = []
    for number, lead in enumerate(LEADS):
        values = [round(v / 10) for v in picture["leads"][lead]]
        steps = [b - a for a, b in itertools.pairwise(values)]
        path = f"M0 {-values[0]}l" + " ".join(f"1 {-step}" for step in steps)
        left, line = number // 3 * _COLUMN, (number % 3 + 0.5) * _ROW
        traces.append({"name": DISPLAY_NAMES[number], "left": left, "line": line, "path": path})
    width = 4 * _COLUMN
    return fill(
        "explain.report/ecg.html", words=words, traces=traces, scale=scale, width=width, height=3 * _ROW,
        column=_COLUMN, per_10_microvolts=_MM_PER_10_MICROVOLTS,
    )  # fmt: skip

"""Figures of scores: the table of means as a heatmap, and the critical-difference diagram."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attribution.report.ranks import ALPHA, Comparison, can_differ
from attribution.scores.summary import in_order, without_twin
from explain.names import RANDOM, Metric, metric, row_title
from utils.ecg import NOT_A_DEVICE
from utils.plotting.ecg_paper import GRAY, INK
from utils.plotting.style import plain_style

STRONG = "#4a2fc9"
# lightness alone encodes the value, for color-blind readers
_SCORE_COLORS = LinearSegmentedColormap.from_list("scores", ["#ffffff", "#b9aef0", STRONG])
# millimeters
_MARGIN, _NAMES, _CELL, _ROW, _GAP, _HEADER, _FOOT = 8, 46, 21, 8.5, 5, 21, 27
_SCALE, _LEGEND_LINE = 50, 3.4
_LEGEND = (
    "Mean over windows (place, if among the best three). Below it: 95 % interval over patients, and number "
    "of windows without a score (NaN). Arrows: the better direction (→ 0: nearest to 0). The random "
    "baseline does not compete."
)


@plain_style()
def score_table(
    table: pd.DataFrame, title: str, families: Sequence[str], subtitle: str = ""
) -> Figure | None:
    """Draw means as a table whose cells are colored from the worst to the best of their column.

    The best three of each column are bold and numbered. The random baseline is the last row and is not
    ranked. relevance_mass_accuracy has no column where attribution_localization, the same number, has one.
    """
    table = table[[metric(name).family in families for name in table["metric"]]]
    table = without_twin(table)
    if table.empty:
        return None
    table = in_order(table)
    rows = in_order(table.drop_duplicates(["method", "sign"]).assign(ground_truth="", metric="auc"))
    names = list(zip(rows["method"], rows["sign"], strict=True))
    left, columns = float(_NAMES), []
    groups: dict[str, list[float]] = {}
    for family in families:
        lines = table[[metric(name).family == family for name in table["metric"]]]
        for (ground_truth, name), column in lines.groupby(["ground_truth", "metric"], sort=False):
            header = _HEADERS[family] + (f", ground truth: {ground_truth}" if ground_truth else "")
            left += _GAP * (header not in groups)
            groups.setdefault(header, [left, left])[1] = left + _CELL
            columns.append((left, name, column.set_index(["method", "sign"])))
            left += _CELL
    wrapped = textwrap.wrap(title, max(20, int((left + _GAP) / 3)))
    under = textwrap.wrap(subtitle, max(30, int((left + _GAP) / 1.75)))
    head = 7 * len(wrapped) + 4.6 * len(under) + 6
    legend = textwrap.wrap(_LEGEND, max(20, int((left - _SCALE - 6) / 1.42)))
    foot = max(_FOOT, 12 + _LEGEND_LINE * len(legend))
    size = (left + 2 * _MARGIN, _MARGIN + head + _HEADER + len(names) * _ROW + _GAP + foot)
    figure, axes = _millimeter_page(size)
    top = size[1] - _MARGIN - head - _HEADER
    _titles(axes, size[1], wrapped, under)
    for label, (start, stop) in groups.items():
        axes.plot([_MARGIN + start + 0.5, _MARGIN + stop - 0.5], [top + 15] * 2, color=INK, linewidth=0.8)
        axes.text(_MARGIN + start + 0.5, top + 16, label, fontsize=9, va="bottom", color=INK)
    heights = [top - _ROW * (i + 1) - (_GAP if name == RANDOM else 0) for i, (name, _) in enumerate(names)]
    for (name, sign), y in zip(names, heights, strict=True):
        color = GRAY if name == RANDOM else INK
        axes.text(_MARGIN, y + _ROW / 2, row_title(name, sign), fontsize=9, va="center", color=color)
    for x, name, column in columns:
        scored = metric(name)
        header = re.sub(" (?=[↑↓→0])", "~", scored.header)  # no line break before the arrow
        words = "\n".join(textwrap.wrap(header, 14)).replace("~", " ")
        axes.text(_MARGIN + x + _CELL / 2, top + 1.5, words, fontsize=8, ha="center", va="bottom", color=INK)
        _draw_column(axes, _MARGIN + x, heights, column.reindex(pd.MultiIndex.from_tuples(names)), scored)
    _scale(axes, size, foot - 9.5, legend)
    return figure


_HEADERS = {
    "localization": "localization",
    "perturbation": "perturbation of the input",
    "sanity": "sanity checks",
}


def _millimeter_page(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(size[0] / 25.4, size[1] / 25.4), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    return figure, axes


def _titles(axes: Axes, height: float, titles: Sequence[str], lines: Sequence[str]) -> None:
    y = height - _MARGIN
    for text in titles:
        axes.text(_MARGIN, y, text, fontsize=13, weight="bold", va="top", color=INK, parse_math=False)
        y -= 7
    for text in lines:
        axes.text(_MARGIN, y, text, fontsize=9, va="top", color=INK, parse_math=False)
        y -= 4.6


def _draw_column(
    axes: Axes, x: float, heights: Sequence[float], column: pd.DataFrame, scored: Metric
) -> None:
    means = column["mean"].to_numpy(dtype=float)
    competes = np.array([name != RANDOM for name, _ in column.index]) & np.isfinite(means)
    competes &= scored.higher_is_better is not None
    goodness = scored.goodness(means)
    worst, best = (f(goodness[competes]) if competes.any() else 0.0 for f in (np.min, np.max))
    shades = np.clip((goodness - worst) / (best - worst) if best > worst else goodness * 0, 0, 1)
    places = {i: 1 + int((goodness[competes] > goodness[i]).sum()) for i in np.flatnonzero(competes).tolist()}
    for i, (y, line) in enumerate(zip(heights, column.itertuples(), strict=True)):
        middle = x + _CELL / 2
        if not np.isfinite(means[i]):
            text = "–" if np.isnan(line.windows) else f"all {int(line.windows)} NaN"
            axes.text(middle, y + _ROW / 2, text, fontsize=8, ha="center", va="center", color=GRAY)
            continue
        axes.add_patch(
            Rectangle(
                (x + 0.2, y + 0.2), _CELL - 0.4, _ROW - 0.4, facecolor=_SCORE_COLORS(shades[i]), linewidth=0
            )
        )
        ink = "white" if shades[i] > 0.75 else INK
        first = places.get(i, 99) <= 3
        number = f"{means[i]:z.3f}" + (f" ({places[i]})" if first else "")
        weight = "bold" if first else "normal"
        axes.text(middle, y + 5.6, number, fontsize=8.5, weight=weight, ha="center", va="center", color=ink)
        parts = [] if np.isnan(line.low) else [f"{line.low:z.2f} to {line.high:z.2f}"]
        parts += [f"{int(line.nan)} NaN"] if line.nan else []
        below = ", ".join(parts)
        size = 5.8 * min(1, 19 / max(1, len(below)))  # 19 letters fit into a cell
        axes.text(middle, y + 2.3, below, fontsize=size, ha="center", va="center", color=ink)


def _scale(axes: Axes, size: tuple[float, float], y: float, legend: Sequence[str]) -> None:
    length = _SCALE
    gradient = np.linspace(0, 1, 128)[None]
    axes.imshow(
        gradient, cmap=_SCORE_COLORS, extent=(_MARGIN, _MARGIN + length, y, y + 3.2), aspect="auto", zorder=2
    )
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))  # imshow changed them
    axes.add_patch(Rectangle((_MARGIN, y), length, 3.2, fill=False, edgecolor=INK, linewidth=0.5, zorder=3))
    axes.text(_MARGIN, y - 0.8, "worst of the column", fontsize=7, va="top", color=INK)
    axes.text(_MARGIN + length, y - 0.8, "best", fontsize=7, va="top", ha="right", color=INK)
    for number, line in enumerate(legend):
        at = (_MARGIN + length + 6, y + 3.4 - _LEGEND_LINE * number)
        axes.text(*at, line, fontsize=7, va="top", color=GRAY)
    axes.text(_MARGIN, 3.5, NOT_A_DEVICE, fontsize=7, color=GRAY)


@plain_style()
def critical_difference(
    comparison: Comparison, title: str, random: dict[str, dict] | None = None
) -> Figure | None:
    """Draw average ranks as dots, and bars that join methods without significant differences.

    Hollow dots: rows that are not significantly better than random maps.

    After Demsar, Journal of Machine Learning Research 7 (2006) 1-30; tests as in `ranks.compare`.
    """
    if comparison.reason:
        return None
    random = random or {}
    rows, row, axis = len(comparison.rows), 5.4, 105
    lanes = _lanes(comparison.groups)
    bars = 4 * (max(lanes, default=0) + 1)
    left = _MARGIN + _NAMES + 4
    width = left + axis + 8 + bars + _MARGIN
    wrapped = textwrap.wrap(title, int((width - 2 * _MARGIN) / 3))
    under = textwrap.wrap(_test_words(comparison, bool(random)), int((width - 2 * _MARGIN) / 1.75))
    head = 7 * len(wrapped) + 4.6 * len(under) + 4
    size = (width, _MARGIN + head + rows * row + 24)
    figure, axes = _millimeter_page(size)
    _titles(axes, size[1], wrapped, under)
    top, bottom = size[1] - _MARGIN - head, 24

    def across(rank: float) -> float:
        return left + axis * (rank - 1) / max(rows - 1, 1)

    for tick in sorted({1, rows, *range(1, rows + 1, max(1, math.ceil(rows / 8)))}):
        if tick != rows and rows - tick <= rows / 8:
            continue  # its label would touch the last
        axes.plot([across(tick)] * 2, [bottom - 1.5, top], color="#dddddd", linewidth=0.6, zorder=1)
        axes.text(across(tick), bottom - 2.5, f"{tick}", fontsize=8, ha="center", va="top", color=INK)
    words = f"average rank over {comparison.patients} patients (1 = best of {rows})"
    axes.text(left + axis / 2, bottom - 8, words, fontsize=8.5, ha="center", va="top", color=INK)
    heights = [top - row * (i + 0.5) for i in range(rows)]
    for name, rank, y in zip(comparison.rows, comparison.average_ranks, heights, strict=True):
        axes.plot([left, across(rank)], [y, y], color="#cccccc", linewidth=0.8, zorder=2)
        better = not random or random.get(name, {}).get("better", False)
        face = STRONG if better else "white"
        axes.plot(across(rank), y, "o", markersize=6, markerfacecolor=face, markeredgecolor=STRONG, zorder=3)
        axes.text(left - 2, y, name, fontsize=9, ha="right", va="center", color=INK)
    for lane, (first, last) in zip(lanes, comparison.groups, strict=True):
        x = left + axis + 7 + 4 * lane
        ends = [heights[first] + 1.6, heights[last] - 1.6]
        axes.plot([x, x], ends, color=INK, linewidth=2.6, solid_capstyle="butt", zorder=3)
    axes.text(_MARGIN, 3.5, NOT_A_DEVICE, fontsize=7, color=GRAY)
    return figure


def _lanes(groups: Sequence[tuple[int, int]]) -> list[int]:
    """Lane of each bar; bars share a lane unless they overlap."""
    ends: list[int] = []
    lanes = []
    for first, last in groups:
        lane = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[lane:] = [last, *ends[lane + 1 :]]
        lanes.append(lane)
    return lanes


def _test_words(comparison: Comparison, has_random: bool) -> str:
    words = f"{comparison.patients} patients with a score in every row"
    words += f" ({comparison.left_out} left out)" if comparison.left_out else ""
    if comparison.friedman:
        words += f"; Friedman's chi² = {comparison.friedman[0]:.1f}, p {_p(comparison.friedman[1])}"
    words += f". Bars join rows that do not differ (Wilcoxon signed-rank, Holm, {100 * ALPHA:.2g} %)."
    if not can_differ(comparison.patients, len(comparison.rows)):
        words += " Too few patients to show a difference between this many rows."
    if has_random:
        words += " Hollow: not better than random maps."
    return words


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"

"""What the sections of a report are made of: numbers as text, tables, rows of charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from utils.report.page import fill

PAGE = "run"
STYLES = ("explain.report/report.css",)
_OPEN_CLASSES = 12  # with more, charts are folded away


def title_of(facts: Mapping[str, Any]) -> str:
    """Title of the page of a run."""
    return f"Report: {facts['run']}, {facts['split_name']}"


def with_interval(value: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """A value with its interval, as text."""
    if value is None or value["point"] is None:
        return "–"
    text = f"{value['point']:.{digits}f}"
    if value["low"] is None or value["high"] is None:
        return text
    return f"{text} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def plain(value: float | None, digits: int = 3) -> str:
    """A number as text."""
    return "–" if value is None else f"{value:.{digits}f}"


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[Any]], texts: int = 1, note: str = ""
) -> Markup:
    """An HTML table whose first ``texts`` columns are text, the first one the heading of its row."""
    return fill(
        "explain.report/table.html", caption=caption, header=header, rows=rows, texts=texts, note=note
    )


def charts(facts: Mapping[str, Any], figures: Sequence[tuple[Markup, str]], title: str) -> Markup:
    """Charts with their captions, folded away where there are many classes."""
    folded = len(facts["classes"]) > _OPEN_CLASSES
    return fill("explain.report/charts.html", figures=figures, title=title, folded=folded)


def section(anchor: str, title: str, words: Sequence[str], parts: Sequence[Markup]) -> Markup:
    """A section with its heading, sentences and parts."""
    return fill("explain.report/section.html", anchor=anchor, title=title, words=words, parts=parts)

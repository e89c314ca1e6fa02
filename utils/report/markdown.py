"""Markdown: pages from templates, and tables."""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Sequence
from typing import Any

import jinja2

from utils.report.page import template_environment


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: first column left-aligned text, the others right-aligned numbers."""
    rule = ["---" if column == 0 else "---:" for column in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", r"\|")


def fill_markdown(template: str, /, **values: Any) -> str:
    """Fill a template, ``package/file`` as in `utils.report.fill`; nothing is escaped.

    The filter ``fmt`` formats a number: ``{{ 1234.5 | fmt(",.0f") }}``, `number` one that may be absent;
    `cell` protects a text in a table. Of several empty lines one stays.
    """
    text = _environment().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def markdown_macros(template: str, /, **values: Any) -> Any:
    """The macros of a template as functions that return text."""
    return _environment().get_template(template).make_module(values)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = template_environment(autoescape=False)
    environment.filters |= {"fmt": format, "median": statistics.median, "number": number, "cell": cell}
    return environment

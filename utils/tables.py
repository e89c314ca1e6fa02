"""CSV files that spreadsheets open safely."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from utils.files import write_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is run as a formula


def escape_cell(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; other values stay.

    A leading apostrophe is doubled, so that `unescape_cell` restores the original.
    """
    if isinstance(value, str) and value.startswith((*_FORMULA, "'")):
        return f"'{value}"
    return value


def unescape_cell(value: Any) -> Any:
    """Undo `escape_cell`."""
    if isinstance(value, str) and value[:1] == "'" and value[1:].startswith((*_FORMULA, "'")):
        return value[1:]
    return value


def csv_text(table: pd.DataFrame, na_rep: str = "") -> str:
    """A table without its index as CSV; names and texts that look like formulas are escaped."""
    for name in table.select_dtypes(exclude="number").columns:
        escaped = {v: escape_cell(v) for v in table[name].unique() if escape_cell(v) is not v}
        if escaped:
            table = table.assign(**{str(name): table[name].map(lambda v, new=escaped: new.get(v, v))})
    return table.rename(columns=escape_cell).to_csv(index=False, na_rep=na_rep, lineterminator="\n")


def write_csv(path: str | os.PathLike, table: pd.DataFrame, na_rep: str = "") -> Path:
    """Write what `csv_text` returns, atomically."""
    write_text(path, csv_text(table, na_rep))
    return Path(path)

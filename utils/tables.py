"""Tables: CSV that spreadsheets open safely, and Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from utils.files import atomic_path, write_text
from utils.text import encodable

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


def write_rows(
    path: str | os.PathLike,
    columns: Mapping[str, type],
    parts: Iterable[Sequence[Mapping[str, Any]]],
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write rows part by part, atomically: Parquet where the name ends in ``.parquet``, else CSV.

    ``columns``: their types, str, int, float or bool; what a row lacks is empty (null in Parquet).
    ``facts``: texts that describe the table, kept in the schema of Parquet alone.
    """
    with atomic_path(path) as temporary:
        write = _write_parquet if Path(path).suffix == ".parquet" else _write_csv
        write(temporary, columns, ([_encodable(row) for row in part] for part in parts), facts or {})
    return Path(path)


def _encodable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encodable(value) if isinstance(value, str) else value for name, value in row.items()}


def _write_csv(
    path: Path, columns: Mapping[str, type], parts: Iterable[Sequence[dict[str, Any]]], facts: Mapping
) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        header = csv_text(pd.DataFrame(columns=list(columns)))
        file.write(header)
        for rows in parts:
            text = csv_text(pd.DataFrame(rows, columns=list(columns), dtype=object))
            file.write(text[len(header) :])


def _write_parquet(
    path: Path, columns: Mapping[str, type], parts: Iterable[Sequence[dict[str, Any]]], facts: Mapping
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()], metadata=dict(facts))
    with pq.ParquetWriter(path, schema) as writer:
        for rows in parts:
            writer.write_table(pa.Table.from_pylist(list(rows), schema))

"""A part of a record of a database as a picture, with its annotations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from databases.base import Annotations, Database
from utils.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATEMENTS = 12  # named in a subtitle


def plot_record(
    database: Database, record: Any, path: str | os.PathLike | None, start: float, seconds: float
) -> Figure:
    """Draw `seconds` of a record from `start` (s) on, with waves, beats, rhythms and statements."""
    from utils.plotting.annotated import (  # needs matplotlib, which reading does not
        Interval,
        Wave,
        plot_annotated,
    )

    row = database.row(record)
    rate, length = float(row["sampling_rate"]), database.samples(record)
    first = round(start * rate)
    last = min(length, first + round(seconds * rate))
    if start < 0 or seconds <= 0 or last - first < 2:
        raise UsageError(
            f"record {record} of {database.name} has {length / rate:g} s: there is nothing to draw of "
            f"{seconds:g} s from {start:g} s on"
        )
    recording = database.read(record, None, first, last)
    found = database.annotations(record)
    inside = (found.marks.samples >= first) & (found.marks.samples < last)
    waves = [
        Wave(str(lead), onset / rate, (offset + 1) / rate, str(kind))
        for onset, _, offset, kind, lead in zip(*found.waves, strict=True)
        if 0 <= onset < last and offset >= first
    ]
    marks = zip(found.marks.samples[inside].tolist(), found.marks.symbols[inside].tolist(), strict=True)
    return plot_annotated(
        recording.signal,
        rate,
        recording.leads,
        path,
        f"{database.name} {record}",
        _subtitle(row, found),
        waves,
        [(sample / rate, symbol) for sample, symbol in marks],
        [
            Interval(begin / rate, end / rate, str(name))
            for begin, end, name in zip(*found.rhythms, strict=True)
            if begin < last and end > first
        ],
        first / rate,
    )


def _subtitle(row: Any, found: Annotations) -> str:
    """Patient and statements."""
    parts = [f"patient {row['patient']}"]
    if row.get("sex"):
        parts.append(str(row["sex"]))
    if row.get("age") == row.get("age") and row.get("age") is not None:
        parts.append(f"{row['age']:g} years")
    names = list(found.statements)
    more = f" and {len(names) - _STATEMENTS} more" if len(names) > _STATEMENTS else ""
    return ", ".join(parts) + ("\n" + ", ".join(names[:_STATEMENTS]) + more if names else "")

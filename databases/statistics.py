"""What a database in a folder holds: records, patients, statements, beats, waves and rhythms, counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tqdm import tqdm

from databases.base import BEAT_SYMBOLS, Database
from utils.errors import DataError


def count_database(database: Database) -> dict[str, Any]:
    """Count what a database holds; ``unreadable`` lists records without readable annotations."""
    records = database.records
    splits = {name: int(count) for name, count in records["split"].value_counts().items() if name}
    counts: dict[str, Any] = {
        "records": len(records),
        "patients": int(records["patient"].nunique()),
        "sampling rates (Hz)": dict(Counter(f"{rate:g}" for rate in records["sampling_rate"])),
        "leads": dict(Counter(" ".join(leads) for leads in records["leads"])),
        "records of splits": splits,
    }
    if "samples" in records:
        hours = (records["samples"].astype(float) / records["sampling_rate"]).sum() / 3600
        counts["hours"] = round(float(hours), 3)
    for column in ("sex", "label", "source"):
        if column in records and len(set(records[column]) - {""}) > 0:
            counts[column] = {str(k): int(n) for k, n in records[column].value_counts().items() if k != ""}
    if "age" in records and np.isfinite(ages := records["age"].to_numpy(float)).any():
        counts["age (median)"] = float(np.nanmedian(ages))
    return {name: value for name, value in (counts | _annotated(database)).items() if value not in ({}, [])}


def _annotated(database: Database) -> dict[str, Any]:
    """Counts of the annotations of all records."""
    statements: Counter[str] = Counter()
    beats: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    waves: Counter[str] = Counter()
    rhythms: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    unreadable: list[str] = []
    records = database.records
    for record, rate in zip(
        tqdm(records.index, desc=database.name, unit="record", disable=None),
        records["sampling_rate"],
        strict=True,
    ):
        try:
            found = database.annotations(record)
        except DataError as error:
            unreadable.append(f"{record}: {error}")
            continue
        statements.update(list(found.statements))
        waves.update(found.waves.kind.tolist())
        for symbol, count in Counter(found.marks.symbols.tolist()).items():
            (beats if symbol in BEAT_SYMBOLS else marks)[symbol] += count
        for start, end, name in zip(*found.rhythms, strict=True):
            rhythms[str(name)] += 1
            seconds[str(name)] += float(end - start) / rate
    return {
        "records with each statement": dict(statements.most_common()),
        "beats": dict(beats.most_common()),
        "other marks": dict(marks.most_common()),
        "waves": dict(waves.most_common()),
        "rhythm intervals": dict(rhythms.most_common()),
        "seconds of each rhythm": {name: round(seconds[name], 1) for name, _ in rhythms.most_common()},
        "unreadable": unreadable,
    }


def statistics_text(database: Database, counts: dict[str, Any]) -> str:
    """The counts as lines for people."""
    lines = [f"{database.title}: {database.root}"]
    for name, value in counts.items():
        if isinstance(value, dict):
            total = f" ({len(value)} kinds)" if len(value) > 12 else ""
            value = ", ".join(f"{key} {number:,}" for key, number in value.items()) + total
        elif isinstance(value, list):
            value = f"{len(value)}, such as {value[0]}"
        elif isinstance(value, int | float):
            value = f"{value:,}"
        lines.append(f"{name}: {value}")
    return "\n".join(lines)

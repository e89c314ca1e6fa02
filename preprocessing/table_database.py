"""A database of one's own: a table of ECG files of any format that inference.py reads, with labels.

The table is CSV or Parquet, with one row a recording: ``path`` (relative to the table, or absolute),
``patient``, labels, and where there are any ``record`` (its name), ``split`` (train, val, test), ``sex``,
``age``, ``sampling_rate`` and ``units`` (of files that do not say them). Labels are a column ``labels`` with
names separated by ``;``, or a column a class of 0 and 1.

This module lies above `databases`, because it reads files as `preprocessing.recordings` does.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Annotations, Database, Recording, register_database
from preprocessing.cache import cache_folders, first_writable
from preprocessing.recordings.external import read_recording
from preprocessing.splits import SPLITS
from preprocessing.targets.records import split_patients
from preprocessing.targets.registry import TargetOptions, Targets, register_targets
from utils.ecg import LEADS
from utils.errors import DataError, UsageError, nearest
from utils.files import read_json, write_json
from utils.text import short_reason

logger = logging.getLogger(__name__)

REQUIRED = ("path", "patient")
OPTIONAL = ("record", "labels", "split", "sex", "age", "sampling_rate", "units")
NAMES = ("records.csv", "records.parquet")  # where --data_dir is a folder
SEPARATOR = ";"
_SHOWN = 5  # problems in one message
_INDEX_FORMAT = 1


@register_database
class TableDatabase(Database):
    """Files that a table lists; `root` is the table, or a folder with ``records.csv`` or ``.parquet``."""

    name = "table"
    title = "Table of recordings"
    license = "your own"
    doi = ""
    lead_count = 12
    split_names: ClassVar = {
        "train": "training rows of the table",
        "val": "validation rows of the table",
        "test": "test rows of the table",
    }

    def __init__(self, root: str | os.PathLike) -> None:
        given = Path(root)
        self.file = given
        self.classes: list[str] = []
        if given.is_dir():
            found = [given / name for name in NAMES if (given / name).is_file()]
            if len(found) != 1:
                raise DataError(
                    f"{given} has {'both' if found else 'neither'} of {' and '.join(NAMES)}: "
                    "point --data_dir at the table itself"
                )
            self.file = found[0]
        super().__init__(self.file.parent)

    def _read_records(self) -> pd.DataFrame:
        table = _read_table(self.file)
        self.classes = self._check_columns(table)
        table = table.assign(
            path=[str(path).strip() for path in table["path"]], patient=table["patient"].astype(str)
        )
        names = table["record"].astype(str) if "record" in table else table["path"]
        self._refuse("record", "is named twice", names.duplicated(), names)
        table = table.set_index(pd.Index(names, name="record"))
        for name in _how(table):
            text = table[name].astype(str).str.strip()
            table[name] = text.where(~text.isin(["", "nan", "None"]), None)
        self._check_rows(table)
        found = self._files(table)
        table["source"] = table["path"]
        table["path"] = [os.path.splitext(path)[0] for path in table["path"]]
        table["leads"] = [LEADS] * len(table)
        table["sampling_rate"], table["samples"] = found["sampling_rate"], found["samples"]
        table["split"] = table["split"].fillna("").astype(str).str.strip() if "split" in table else ""
        return table

    def _check_columns(self, table: pd.DataFrame) -> list[str]:
        """Classes of the table."""
        for name in REQUIRED:
            if name not in table:
                raise DataError(
                    f"{self.file} has no column '{name}': {nearest(name, table.columns)}. A table of "
                    f"recordings needs {', '.join(REQUIRED)} and labels"
                )
        if not len(table):
            raise DataError(f"{self.file} has no rows: list a recording in each")
        others = [name for name in table if name not in (*REQUIRED, *OPTIONAL)]
        if "labels" in table:
            if others:
                logger.info(f"{self.file}: columns that are not used: {', '.join(map(str, others))}")
            cells = [split_labels(cell) for cell in table["labels"]]
            classes = sorted({label for cell in cells for label in cell})
            if not classes:
                raise DataError(f"{self.file}: the column 'labels' is empty in every row")
            return classes
        for name in others:
            wrong = ~table[name].isin([0, 1])
            self._refuse(str(name), "must be 0 or 1, as a column of a class", wrong, table[name])
            if not table[name].any():
                raise DataError(f"{self.file}: no row has the class '{name}': leave out its column")
        if not others:
            raise DataError(
                f"{self.file} has no labels: add a column 'labels' with names separated by '{SEPARATOR}', or "
                "a column of 0 and 1 for each class"
            )
        return [str(name) for name in others]

    def _refuse(self, column: str, reason: str, wrong: pd.Series, values: pd.Series) -> None:
        """Name the rows of a column that are wrong; rows count from 2, as a spreadsheet shows them."""
        rows = np.flatnonzero(wrong.to_numpy())
        if len(rows):
            shown = ", ".join(f"row {row + 2} ({values.iloc[row]!s:.40})" for row in rows[:_SHOWN])
            more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
            raise DataError(f"{self.file}: column '{column}' {reason}: {shown}{more}")

    def _check_rows(self, table: pd.DataFrame) -> None:
        for name in REQUIRED:
            empty = table[name].isna() | table[name].astype(str).str.strip().isin(["", "nan"])
            self._refuse(name, "is empty", empty, table[name])
        if "sampling_rate" in table:
            numbers = pd.to_numeric(table["sampling_rate"], errors="coerce")
            wrong = table["sampling_rate"].notna() & ~(numbers > 0)
            self._refuse("sampling_rate", "must be Hz above 0", wrong, table["sampling_rate"])
        if "split" not in table:
            return
        splits = table["split"].fillna("").astype(str).str.strip()
        self._refuse("split", f"must be {', '.join(SPLITS)} or empty", ~splits.isin([*SPLITS, ""]), splits)
        if (splits == "").any() and (splits != "").any():
            self._refuse("split", "is empty here, but not everywhere", splits == "", table["path"])
        first: dict[str, int] = {}
        for row, (patient, split) in enumerate(zip(table["patient"], splits, strict=True)):
            before = first.setdefault(patient, row)
            if splits.iloc[before] != split:
                places = f"{splits.iloc[before]} (row {before + 2}) and {split} (row {row + 2})"
                raise DataError(
                    f"{self.file}: patient {patient} is in two splits, {places}: give all records of a "
                    "person one split"
                )

    def _files(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rate and length of each file, which an index beside the cache of signals keeps."""
        paths = [self.root / path for path in table["path"]]
        folders = cache_folders(self.root)
        index_name = f"table_{hashlib.sha256(os.fspath(self.file.resolve()).encode()).hexdigest()[:12]}.json"
        known: dict[str, Any] = {}
        for folder in folders:
            if (folder / index_name).is_file():
                index = read_json(folder / index_name)
                known = index["files"] if index.get("format") == _INDEX_FORMAT else {}
                break
        found, problems, changed = [], [], False
        for row, path in enumerate(tqdm(paths, desc=self.file.name, unit="file", disable=None)):
            given = [None if pd.isna(v) else str(v) for v in (table[n].iloc[row] for n in _how(table))]
            key = f"{path}|{_state(path)}|{given}"
            if key not in known:
                try:
                    recording = self._read_file(path, table.iloc[row])
                    known[key] = [recording.sampling_rate, len(recording.signal)]
                    changed = True
                except (DataError, UsageError) as error:
                    problems.append(f"  row {row + 2}: {error}")
                    found.append([0.0, 0])
                    continue
            found.append(known[key])
        if problems:
            more = [f"  ... and {len(problems) - 10} more"] if len(problems) > 10 else []
            listed = "\n".join(problems[:10] + more)
            raise DataError(
                f"{self.file}: {len(problems)} of {len(paths)} recordings cannot be used:\n{listed}"
            )
        if changed:
            folder = first_writable(folders)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / index_name, {"format": _INDEX_FORMAT, "files": known})
        return pd.DataFrame(found, index=table.index, columns=["sampling_rate", "samples"])

    def _read_file(self, path: Path, row: pd.Series) -> Recording:
        how = {
            name: row[name] for name in ("sampling_rate", "units") if name in row and not pd.isna(row[name])
        }
        if "sampling_rate" in how:
            how["sampling_rate"] = float(how["sampling_rate"])
        return read_recording(path, **how)

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Recording:
        """Read a recording or a part of it in mV."""
        row = self.row(record)
        path = self.root / row["source"]
        recording = self._read_file(path, row)
        chosen = tuple(lead.upper() for lead in (LEADS if leads is None else leads))
        if unknown := [lead for lead in chosen if lead not in LEADS]:
            raise DataError(f"{path}: has no lead {', '.join(unknown)} (it has {', '.join(LEADS)})")
        count = len(recording.signal)
        first, last = start or 0, count if stop is None else stop
        if first < 0 or last <= first or last > count:
            raise UsageError(f"{path} has {count} samples: there is no part from {start} to {stop}")
        columns = [LEADS.index(lead) for lead in chosen]
        signal = np.ascontiguousarray(recording.signal[first:last, columns])
        return Recording(signal, recording.sampling_rate, chosen, recording.notes, str(record), path)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Labels, a column a class in the order of `classes`; uint8 (N, C)."""
        records = self.records
        if "labels" in records:
            cells = [split_labels(cell) for cell in records["labels"]]
            return np.array([[name in cell for name in self.classes] for cell in cells], dtype=np.uint8)
        return records[self.classes].to_numpy(np.uint8)

    def annotations(self, record: Any) -> Annotations:
        """The labels of a record as statements."""
        self.row(record)
        present = self.labels[self.records.index.get_loc(record)]
        names = [name for name, value in zip(self.classes, present, strict=True) if value]
        return Annotations(statements=dict.fromkeys(names, 100.0))


def _how(table: pd.DataFrame) -> list[str]:
    return [name for name in ("sampling_rate", "units") if name in table]


def _state(path: Path) -> str:
    """Size and time of a file; of a WFDB record without ending those of its header."""
    for file in (path, path.with_name(f"{path.name}.hea")):
        if file.is_file():
            state = file.stat()
            return f"{state.st_size} {state.st_mtime_ns}"
    return "absent"


def _read_table(file: Path) -> pd.DataFrame:
    """A CSV table with commas, semicolons or tabs, or a Parquet table."""
    if not file.is_file():
        raise DataError(f"{file} does not exist: --data_dir names the table of --database table")
    try:
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file)
        with open(file, encoding="utf-8-sig") as stream:
            header = stream.readline()
        separator = max(",;\t", key=header.count)
        text = {"record": str, "path": str, "patient": str, "labels": str, "split": str, "units": str}
        return pd.read_csv(file, sep=separator, dtype=text, encoding="utf-8-sig", skipinitialspace=True)
    except ImportError as error:
        raise UsageError(
            f"{file}: reading Parquet needs the package pyarrow: install it, or save the table as CSV"
        ) from error
    except (ValueError, OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(f"{file} is not a table that can be read ({short_reason(error)})") from error


def split_labels(cell: object) -> list[str]:
    """Labels of a cell; none for an empty one."""
    if not isinstance(cell, str):
        return []
    return [label.strip() for label in cell.split(SEPARATOR) if label.strip()]


def _build(database: Database, options: TargetOptions, exclusive: bool = False) -> Targets:
    """Labels of the table; rows without any are left out of a column ``labels``, unless they are kept."""
    assert isinstance(database, TableDatabase)
    records, labels = database.records, database.labels
    rows = np.arange(len(records))
    if "labels" in records and not options.keep_unlabeled:
        rows = np.flatnonzero(labels.any(axis=1))
        if len(rows) < len(records):
            logger.info(f"{len(records) - len(rows)} of {len(records)} rows have no label and are left out")
    several = np.flatnonzero(labels[rows].sum(axis=1) != 1)
    if exclusive and len(several):
        row = int(rows[several[0]])
        raise DataError(
            f"{database.file}: row {row + 2} has {labels[row].sum()} labels; task classes needs exactly one "
            "in each row: use --task labels"
        )
    if (records["split"] != "").all():
        return Targets(rows, labels[rows], database.classes)
    splits, names = split_patients(records["patient"].to_numpy()[rows], labels[rows])
    return Targets(rows, labels[rows], database.classes, splits, names)


def _build_exclusive(database: Database, options: TargetOptions) -> Targets:
    """Labels of which every row has exactly one."""
    return _build(database, options, exclusive=True)


register_targets("labels", kind="multilabel", build=_build, databases=("table",), sampling_rate=100)
register_targets(
    "classes", kind="multiclass", build=_build_exclusive, databases=("table",), sampling_rate=100
)

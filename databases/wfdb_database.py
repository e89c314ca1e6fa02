"""Databases of WFDB records with annotation files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from databases.base import Annotations, Database, Recording
from databases.wfdb_annotations import read_annotations
from databases.wfdb_header import Header, RecordError, read_header
from databases.wfdb_reader import read_record
from utils.errors import DataError

logger = logging.getLogger(__name__)


class WfdbDatabase(Database):
    """A database whose records all have one sampling rate and an annotation file ``.atr``."""

    sampling_rate: ClassVar[int]

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> Recording:
        path = self.root / self.row(record)["path"]
        return read_record(path, leads, start, stop, sampling_rate=self.sampling_rate, dtype=dtype)

    def annotations(self, record: Any) -> Annotations:
        row = self.row(record)
        return read_annotations(self.root / row["path"], "atr", row.get("samples"))

    def check_folder(self) -> None:
        """Refuse a folder that does not exist."""
        if not self.root.is_dir():
            raise DataError(
                f"{self.root} is not a folder: point --data_dir at the one with the records of {self.name}"
            )

    def header(self, record: Any) -> Header:
        """Read the header of a record and compare its sampling rate."""
        header = read_header(self.root / self.row(record)["path"])
        header.check_rate(self.sampling_rate)
        return header


class FolderDatabase(WfdbDatabase):
    """WFDB records that are found by their headers.

    ``pattern``: where below the folder the headers are.
    ``annotators``: endings of the annotation files; the first one that a record has is read.
    ``without_signal``: records that the database lists, but has no signals of.
    ``sampling_rate``: 0 where records differ.
    """

    pattern: ClassVar[str] = "*.hea"
    annotators: ClassVar[tuple[str, ...]] = ("atr",)
    without_signal: ClassVar[tuple[str, ...]] = ()

    def _read_records(self) -> pd.DataFrame:
        self.check_folder()
        files = [
            file for file in sorted(self.root.glob(self.pattern)) if file.stem not in self.without_signal
        ]
        if not files:
            raise DataError(
                f"{self.root} has no record of {self.name} ({self.pattern}): point --data_dir at its folder"
            )
        rows = {self.record_name(file): self._row(read_header(file.with_suffix(""))) for file in files}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("record")

    def _row(self, header: Header) -> dict[str, Any]:
        if self.sampling_rate:
            header.check_rate(self.sampling_rate)
        row = {
            "patient": header.path.name,
            "path": header.path.relative_to(self.root).as_posix(),
            "sampling_rate": header.sampling_rate,
            "leads": header.leads,
            "split": "",
            "samples": header.samples,
        }
        return row | self.describe(header)

    def record_name(self, header: Path) -> str:
        """Id of the record with this header."""
        return header.stem

    def describe(self, header: Header) -> dict[str, Any]:
        """Columns of a record that this database knows beside those of its header."""
        return {}

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> Recording:
        """Read a recording or a part of it in mV."""
        row = self.row(record)
        leads = row["leads"] if leads is None else leads
        path, rate = self.root / row["path"], row["sampling_rate"]
        return self.correct(read_record(path, leads, start, stop, sampling_rate=rate, dtype=dtype), row)

    def correct(self, recording: Recording, row: pd.Series) -> Recording:
        """Undo a known fault of the database's headers, with a note."""
        return recording

    def annotations(self, record: Any) -> Annotations:
        """Read beats and rhythms from the first annotation file that there is."""
        row = self.row(record)
        path = self.root / row["path"]
        for suffix in self.annotators:
            if path.with_name(f"{path.name}.{suffix}").exists():
                return read_annotations(path, suffix, row["samples"])
        return Annotations()


class HolterDatabase(WfdbDatabase):
    """Half-hour records with an annotation for every beat, published with a training and a test part.

    ``records`` has two splits: ``split`` keeps patients whole and sets validation records apart, and
    ``published_split`` (``train`` and ``test``) is that of the literature.

    ``train, test``: records of the published split.
    ``val``: records of `train` that serve as validation; whole patients.
    ``moved``: records of `test` that belong to training, because their patient is there.
    ``patients``: patient of a record, where it is not the record's own name.
    """

    train: ClassVar[tuple[str, ...]]
    test: ClassVar[tuple[str, ...]]
    val: ClassVar[frozenset[str]]
    moved: ClassVar[tuple[str, ...]] = ()
    patients: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def split_of(cls, record: str) -> str:
        """Split of a record that keeps patients whole."""
        if record in cls.test and record not in cls.moved:
            return "test"
        return "val" if record in cls.val else "train"

    def _read_records(self) -> pd.DataFrame:
        rows = {name: self._describe(read_header(self.root / name)) for name in self._present()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("record")

    def _present(self) -> list[str]:
        """Records with any file in the folder, training first; what is absent is logged."""
        self.check_folder()
        stems = {path.stem for path in self.root.iterdir() if path.suffix in (".hea", ".dat", ".atr")}
        official = (*self.train, *self.test)
        names = [name for name in official if name in stems]
        if not names:
            inside = sorted(self.root.glob(f"*/{official[0]}.hea"))
            remedy = (
                f"use {inside[0].parent}" if inside else "point --data_dir at the folder of its .hea files"
            )
            raise DataError(f"{self.root} has no record of {self.name} (such as {official[0]}.hea): {remedy}")
        if len(names) < len(official):
            logger.info(
                f"{self.name}: {len(names)} of {len(official)} records are in {self.root}, "
                "the others are left out"
            )
        return names

    def _describe(self, header: Header) -> dict[str, Any]:
        header.check_rate(self.sampling_rate)
        name, text = header.path.name, " ".join(header.comments)
        patient = self.patients.get(name, name)
        stated = re.search(r"\bpatient\s+(\d+)\b", text)
        if stated and name in self.patients and int(stated[1]) != int(patient):
            raise RecordError(
                header.path, f"header says patient {stated[1]}, the published list of {self.name} {patient}"
            )
        age = re.search(r"\bage\W+(\d+)|^\s*(\d+) [MF]\b", text, re.IGNORECASE)
        sex = re.search(r"\bsex\W+([MF])\b|^\s*\d+ ([MF])\b", text, re.IGNORECASE)
        return {
            "patient": patient,
            "path": name,
            "sampling_rate": self.sampling_rate,
            "leads": header.leads,
            "split": self.split_of(name),
            "published_split": "test" if name in self.test else "train",
            "samples": header.samples,
            "age": float(age[1] or age[2]) if age else np.nan,
            "sex": (sex[1] or sex[2]).upper() if sex else "",
        }

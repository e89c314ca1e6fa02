"""What every database gives: a table of records, recordings in mV, annotations, and a download."""

from __future__ import annotations

import abc
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from databases.archives import Archives
from utils.errors import UsageError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REQUIRED_COLUMNS = ("patient", "path", "sampling_rate", "leads", "split")  # of every table of records
# PhysioNet's codes of annotations that mark a beat (https://physionet.org/physiotools/wag/annot-5.htm)
BEAT_SYMBOLS = "NLRBAaJSVrFejnE/fQ?"


class Fault(NamedTuple):
    """A stretch of one lead whose signal is lost or distorted.

    Attributes
    ----------
    kind : str
        A key of `preprocessing.recordings.quality.KINDS`.
    lead : str
        As `utils.ecg.LEADS` spells it.
    start, end : float
        Seconds from the beginning of the recording.
    detail : str
        Level or size, for people; may be empty.
    """

    kind: str
    lead: str
    start: float
    end: float
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """A folder on a server with a SHA256SUMS.txt that lists its files.

    ``tables``: files without which the database is of no use.
    ``extras``: files that are fetched where the server lists them.
    ``records``: sampling rate in Hz -> regular expression of the record files.
    """

    url: str
    records: Mapping[int, str]
    tables: tuple[str, ...] = ()
    extras: tuple[str, ...] = ("RECORDS", "LICENSE.txt")


@dataclass(frozen=True)
class Recording:
    """An ECG recording, from a database or from a file that a user brings.

    Parameters
    ----------
    signal : ndarray of float32, shape (T, leads)
        In mV.
    sampling_rate : float
        In Hz.
    leads : tuple of str
        Names of the columns; the twelve standard leads as `utils.ecg.LEADS` spells them.
    notes : list of str
        What the reader verified, assumed or converted, one sentence each.
    name : str
        Name of the record or of the file, without its ending.
    source : pathlib.Path, optional
        The file it was read from.
    faults : list of Fault
        Where leads are lost or distorted, as far as it was checked.
    start : float
        Second of the file at which the signal begins.
    """

    signal: np.ndarray
    sampling_rate: float
    leads: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    name: str = ""
    source: Path | None = None
    faults: list[Fault] = field(default_factory=list)
    start: float = 0.0


class Marks(NamedTuple):
    """Annotations of single samples, in order of time.

    Attributes
    ----------
    samples : ndarray of int64, shape (M,)
        Position in the record.
    symbols : ndarray of str, shape (M,)
        PhysioNet's annotation codes.
    """

    samples: np.ndarray
    symbols: np.ndarray


class Waves(NamedTuple):
    """Delineated waves, ordered by lead and time; -1 stands for a boundary that is not annotated.

    Attributes
    ----------
    onset : ndarray of int64, shape (W,)
        First sample.
    peak : ndarray of int64, shape (W,)
        Sample of the peak.
    offset : ndarray of int64, shape (W,)
        Last sample.
    kind : ndarray of str, shape (W,)
        ``P``, ``QRS``, ``T`` or ``U``.
    lead : ndarray of str, shape (W,)
        Lead in which the wave was delineated; empty where the annotation holds for all leads.
    """

    onset: np.ndarray
    peak: np.ndarray
    offset: np.ndarray
    kind: np.ndarray
    lead: np.ndarray


class Rhythms(NamedTuple):
    """Intervals of one rhythm each, in order of time.

    Attributes
    ----------
    start : ndarray of int64, shape (R,)
        First sample.
    end : ndarray of int64, shape (R,)
        Sample after the last.
    name : ndarray of str, shape (R,)
        The database's abbreviation, such as ``AFIB``.
    """

    start: np.ndarray
    end: np.ndarray
    name: np.ndarray


def _no_marks() -> Marks:
    return Marks(np.empty(0, np.int64), np.empty(0, dtype="U1"))


def _no_waves() -> Waves:
    return Waves(*(np.empty(0, np.int64) for _ in range(3)), *(np.empty(0, dtype="U3") for _ in range(2)))


def _no_rhythms() -> Rhythms:
    return Rhythms(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, dtype="U1"))


@dataclass(frozen=True)
class Annotations:
    """The annotations of one record; what its database does not annotate is empty.

    Parameters
    ----------
    marks : Marks
        Every annotation of a single sample: beats, rhythm changes, noise.
    waves : Waves
        Delineated waves.
    rhythms : Rhythms
        Rhythm intervals.
    statements : dict of str to float
        Statements on the whole record and their likelihood in percent (0 where none is given).
    """

    marks: Marks = field(default_factory=_no_marks)
    waves: Waves = field(default_factory=_no_waves)
    rhythms: Rhythms = field(default_factory=_no_rhythms)
    statements: dict[str, float] = field(default_factory=dict)

    @property
    def beats(self) -> Marks:
        """The marks that are beats."""
        kept = np.isin(self.marks.symbols, list(BEAT_SYMBOLS))
        return Marks(self.marks.samples[kept], self.marks.symbols[kept])


class Database(abc.ABC):
    """A database of ECG recordings in a folder, which may be read-only.

    A subclass sets `name`, `title`, `license` and `doi`, implements ``_read_records`` (the table that
    `records` keeps) and `read`, and is decorated with `register_database`.

    Parameters
    ----------
    root : path-like
        Folder of the database's files.

    Attributes
    ----------
    name : str
        As commands take it.
    title : str
        Full name and release.
    license : str
        License of the recordings.
    doi : str
        DOI of the files or of the publication.
    size : int
        Records of the whole database; 0 where that is not one number.
    lead_count : int
        Leads (or channels) of a record.
    rates : tuple of int
        Sampling rates in Hz.
    split_names : dict of str to str
        What ``train``, ``val`` and ``test`` are in this database, for messages.
    source : Source, Archives or None
        Where `download` finds the files.
    access : str
        How to get the files where they cannot be downloaded.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    license: ClassVar[str]
    doi: ClassVar[str]
    size: ClassVar[int] = 0
    lead_count: ClassVar[int] = 0
    rates: ClassVar[tuple[int, ...]] = ()
    split_names: ClassVar[Mapping[str, str]] = {}
    source: ClassVar[Source | Archives | None] = None
    access: ClassVar[str] = ""

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)

    @functools.cached_property
    def records(self) -> pd.DataFrame:
        """Table of the records in the folder, one row each, indexed by record id (int or str).

        Columns of every database: ``patient``, ``path`` (relative to `root`, without extension),
        ``sampling_rate``, ``leads`` (tuple of str) and ``split`` (``train``, ``val`` or ``test``; empty where
        the database has no split). Some have more, such as ``fold``, ``age`` and ``sex``.

        Raises
        ------
        DataError
            The folder does not hold the database, or its tables or headers are damaged.
        UsageError
            The database's own code leaves a column out.
        """
        table = self._read_records()
        absent = [name for name in REQUIRED_COLUMNS if name not in table]
        if absent:
            raise UsageError(f"{self.name}: the table of records has no column {', '.join(absent)}")
        return table

    @abc.abstractmethod
    def _read_records(self) -> pd.DataFrame:
        """Build the table that `records` keeps."""

    @abc.abstractmethod
    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Recording:
        """Read a recording or a part of it.

        Parameters
        ----------
        record : int or str
            An id of `records`.
        leads : sequence of str, optional
            Leads to read, in this order; all by default.
        start, stop : int, optional
            First sample and the one after the last.

        Returns
        -------
        Recording
            Signal (T, leads) in mV.

        Raises
        ------
        DataError
            A file of the record is missing or damaged, or it has no such lead.
        UsageError
            There is no such record, or `start` and `stop` are not in it.
        """

    def annotations(self, record: Any) -> Annotations:
        """Read the annotations of a record.

        Parameters
        ----------
        record : int or str
            An id of `records`.

        Returns
        -------
        Annotations
            Positions are samples of the record.

        Raises
        ------
        DataError
            An annotation file is missing or damaged.
        UsageError
            There is no such record.
        """
        self.row(record)
        return Annotations()

    def samples(self, record: Any) -> int:
        """Tell how long a recording is.

        Parameters
        ----------
        record : int or str
            An id of `records`.

        Returns
        -------
        int
            Its samples, from the table where it says so, else from the recording's file.

        Raises
        ------
        DataError
            A file of the record is missing or damaged.
        UsageError
            There is no such record.
        """
        row = self.row(record)
        return int(row["samples"]) if "samples" in row else len(self.read(record).signal)

    def statistics(self) -> dict[str, Any]:
        """Count records, patients, statements, beats, waves and rhythms of the folder.

        Returns
        -------
        dict
            Numbers by name; ``unreadable`` lists records whose annotations cannot be read.
        """
        from databases.statistics import count_database

        return count_database(self)

    def plot(
        self,
        record: Any,
        path: str | os.PathLike | None = None,
        start: float = 0.0,
        seconds: float = 10.0,
    ) -> Figure:
        """Draw a part of a record on ECG paper with its waves, beats, rhythms and statements.

        Parameters
        ----------
        record : int or str
            An id of `records`.
        path : path-like, optional
            PNG to write.
        start, seconds : float
            Part to draw, in s; at most 120 s.

        Returns
        -------
        matplotlib.figure.Figure
            The picture.

        Raises
        ------
        DataError
            A file of the record is missing or damaged.
        UsageError
            There is no such record, or the part is not in it.
        """
        from databases.pictures import plot_record

        return plot_record(self, record, path, start, seconds)

    def row(self, record: Any) -> pd.Series:
        """Look up a row of `records`.

        Parameters
        ----------
        record : int or str
            An id of `records`.

        Returns
        -------
        pandas.Series
            The row.

        Raises
        ------
        UsageError
            There is no such record.
        """
        if record not in self.records.index:
            close = nearest(str(record), map(str, self.records.index)).partition("Valid:")[0].strip()
            hint = f": {close}" if close else f": it has {len(self.records)}, see `records`"
            raise UsageError(f"{self.name} in {self.root} has no record {record!r}{hint}")
        return self.records.loc[record]

    @classmethod
    def download(cls, root: str | os.PathLike, **options: Any) -> Any:
        """Download the database, or continue a download; every file is verified.

        Parameters
        ----------
        root : path-like
            Target folder.
        **options
            See `databases.download.fetch.download`.

        Returns
        -------
        Summary
            What was fetched and what was there.

        Raises
        ------
        DownloadError
            Some files could not be fetched; calling again continues.
        UsageError
            The database cannot be downloaded, or an option is out of range.
        """
        if cls.source is None:
            raise UsageError(
                cls.access or f"{cls.name} has no known download address: copy its files by hand"
            )
        from databases.download.fetch import download  # needs requests, which reading does not

        return download(cls.title, cls.source, root, **options)

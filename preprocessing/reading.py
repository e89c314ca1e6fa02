"""All recordings of any database as one array: one rate, one length, one order of leads."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Database
from databases.wfdb_files import to_int16
from preprocessing.cache import UNITS_PER_MV, CachedSignals, Reader, find_cache, open_cache
from preprocessing.signals import ScaledSignals, waveform_digest
from preprocessing.transforms.resample import resample
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

FORMAT = 1
BLOCK = 64  # recordings in memory at a time
_MICROVOLTS, _MILLIVOLTS = "<i2", "<f4"  # stored as microvolts where they fit
LARGEST_MV = 32.767  # what int16 microvolts hold

logger = logging.getLogger(__name__)


class Stored(NamedTuple):
    """Signals as they are kept.

    ``digests`` (N,): fingerprint of each row.
    ``unusable``: rows of the database's records that could not be read and are left out.
    """

    signals: ScaledSignals
    digests: np.ndarray
    unusable: tuple[int, ...] = ()


class TooLargeForInt16(Exception):
    """A recording exceeds the range of int16 microvolts."""


class RecordingReader:
    """Recordings of a database one after the other, resampled, cropped or padded to one length.

    ``leads``: which, in this order.
    ``rate``: in Hz.
    ``seconds``: length; 0 for that of the first recording, which all must have.
    ``drop``: leave out recordings that cannot be read, which are then zeros and rows in `unusable`.
    ``dtype``: int16 for microvolts, float32 for millivolts.
    """

    def __init__(
        self, database: Database, leads: Sequence[str], rate: float, seconds: float, drop: bool, dtype: str
    ) -> None:
        self.unusable: list[int] = []
        self._drop = drop
        self._database = database
        self._leads = tuple(leads)
        self._rate = rate
        self._seconds = seconds
        self.dtype = np.dtype(dtype)
        ids = database.records.index
        samples = round(seconds * rate) if seconds else len(self._signal(ids[0]))
        self.shape = (len(ids), samples, len(self._leads))

    def _signal(self, record: Any) -> np.ndarray:
        return read_at_rate(self._database, record, self._leads, self._rate)

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the recordings; one error lists all that cannot be used, (<= 64, T, leads)."""
        count, samples, _ = self.shape
        problems: list[str] = []
        lengths: list[str] = []
        padded = cropped = 0
        ids = self._database.records.index
        with tqdm(total=count, desc=self._database.name, unit="record", disable=None) as bar:
            for start in range(0, count, BLOCK):
                block = np.zeros((min(BLOCK, count - start), *self.shape[1:]), self.dtype)
                for row, target in enumerate(block, start):
                    record = ids[row]
                    try:
                        signal = self._signal(record)
                    except DataError as error:
                        problems.append(f"  {record}: {error}")
                        self.unusable.append(row)
                        continue
                    padded += len(signal) < samples
                    cropped += len(signal) > samples
                    lengths += self._length_problem(record, len(signal))
                    target[: len(signal)] = self._stored(signal[:samples])
                bar.update(len(block))
                if not (
                    lengths or (problems and not self._drop)
                ):  # otherwise only the list of them is wanted
                    yield block
        report_problems(self._database, lengths + problems * (not self._drop), count)
        note_left_out(self._database, problems, count)
        if padded:
            logger.info(f"{padded} of {count} recordings are shorter than {self._seconds:g} s: zeros follow")
        if cropped:
            logger.info(
                f"{cropped} of {count} recordings are longer than {self._seconds:g} s: they are cropped"
            )

    def _length_problem(self, record: Any, length: int) -> list[str]:
        if self._seconds or length == self.shape[1]:
            return []
        first = self.shape[1] / self._rate
        return [f"  {record}: {length / self._rate:g} s, the first record has {first:g} s: choose --seconds"]

    def _stored(self, signal: np.ndarray) -> np.ndarray:
        return stored_as(signal, self.dtype)


def read_at_rate(database: Database, record: Any, leads: Sequence[str], rate: float) -> np.ndarray:
    """A recording in mV at a sampling rate, (T, leads)."""
    recording = database.read(record, leads)
    if not len(recording.signal):
        raise DataError("the recording has no samples")
    finite = np.isfinite(recording.signal).all(axis=0)
    if not finite.all():
        raise DataError(f"NaN or infinite samples in lead {leads[int(finite.argmin())]}")
    return resample(recording.signal, recording.sampling_rate, rate)


def stored_as(signal: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Signal in mV as it is kept: int16 microvolts or float32."""
    if dtype != np.int16:
        return signal
    if np.abs(signal).max(initial=0) > LARGEST_MV:
        raise TooLargeForInt16
    return to_int16(signal)


def report_problems(database: Database, problems: list[str], count: int) -> None:
    """Raise one error that lists the records that cannot be used, if there are any."""
    if problems:
        summary = f"{len(problems)} of {count} records in {database.root} cannot be used:\n"
        more = [f"  ... and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise DataError(summary + "\n".join(problems[:10] + more))


def note_left_out(database: Database, problems: list[str], count: int) -> None:
    """Say which records are left out because they cannot be read."""
    if problems:
        listed = "\n".join(problems[:10])
        logger.warning(f"{len(problems)} of {count} records in {database.root} are left out:\n{listed}")


def common_leads(records: pd.DataFrame, leads: Sequence[str] | None) -> tuple[str, ...]:
    """Leads to read: the requested ones, the twelve standard leads, or those that every record has.

    Where most records have the twelve standard leads, those that lack one are refused when they are read.
    """
    rows = [tuple(map(_standard, row)) for row in records["leads"]]
    distinct = list(dict.fromkeys(rows))
    shared = [lead for lead in distinct[0] if all(lead in others for others in distinct)]
    if leads is not None:
        chosen = tuple(map(_standard, leads))
        absent = [lead for lead in chosen if lead not in shared]
        if absent:
            raise UsageError(f"not every record has lead {', '.join(absent)}; common: {', '.join(shared)}")
        return chosen
    complete = {row for row in distinct if set(LEADS) <= set(row)}
    if 2 * sum(row in complete for row in rows) > len(rows):
        return LEADS
    if not shared:
        lead, count = Counter(lead for row in rows for lead in set(row)).most_common(1)[0]
        lacking = [str(name) for name, row in zip(records.index, rows, strict=True) if lead not in row]
        listed = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        raise UsageError(
            f"the records have no lead in common: {lead} is in {count} of {len(rows)}, but not in {listed}; "
            "move the records without it to another folder"
        )
    return tuple(shared)


def _standard(lead: str) -> str:
    """A standard lead as `LEADS` spells it (aVR: AVR), other names as they are."""
    return lead.upper() if lead.upper() in LEADS else lead


def common_rate(records: pd.DataFrame, rate: float | None) -> float:
    """The requested sampling rate, or the common one of all records."""
    if rate is not None:
        if not rate > 0:
            raise UsageError(f"sampling_rate must be above 0 Hz, not {rate}")
        return int(rate) if rate == int(rate) else rate
    rates = sorted(set(records["sampling_rate"]))
    if len(rates) != 1:
        raise UsageError(f"the records have {', '.join(f'{r:g}' for r in rates)} Hz: choose --sampling_rate")
    return int(rates[0]) if rates[0] == int(rates[0]) else float(rates[0])


def _file_states(database: Database) -> list[list[Any]] | None:
    """Name, size and time of the files of each record; None where a record has none."""
    folders: dict[Path, dict[str, list[list[Any]]]] = {}
    states = []
    for path in database.records["path"]:
        base = database.root / str(path)
        if base.parent not in folders:
            folders[base.parent] = _files_by_stem(base.parent)
        files = folders[base.parent].get(base.name)
        if not files:
            return None
        states.append(files)
    return states


def _files_by_stem(folder: Path) -> dict[str, list[list[Any]]]:
    files: dict[str, list[list[Any]]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                state = entry.stat()
                for name in {entry.name, Path(entry.name).stem}:
                    files.setdefault(name, []).append([entry.name, state.st_size, state.st_mtime_ns])
    except OSError:
        return {}
    return files


def read_signals(
    database: Database,
    leads: Sequence[str],
    rate: float,
    seconds: float = 0,
    cache_dir: str | os.PathLike | None = None,
    drop: bool = False,
) -> Stored:
    """Signals of all records of a database.

    They come from a cache, unless some records have no files that would tell whether it is out of date.
    """
    reader = functools.partial(RecordingReader, database, leads, rate, seconds, drop)
    shape = [rate, seconds, list(leads), *(["drop"] if drop else [])]
    ids = [str(record) for record in database.records.index]
    return through_cache(database, reader, shape, ids, cache_dir)


def through_cache(
    database: Database,
    reader: Callable[[str], Reader],
    shape: list[Any],
    ids: list[str],
    cache_dir: str | os.PathLike | None,
) -> Stored:
    """What a reader of some dtype reads, from the cache.

    ``shape``: rate, and all else that decides what is read, as JSON values.
    ``ids``: record of each row.
    """
    states = _file_states(database)
    if states is None:
        return _in_memory(reader)
    cached = _cached(database, reader, shape, ids, states, cache_dir)
    signals = ScaledSignals(cached.samples, units_per_mv=UNITS_PER_MV[cached.samples.dtype])
    return Stored(signals, cached.digests, cached.unusable)


def _in_memory(reader: Callable[[str], Reader]) -> Stored:
    for dtype in (_MICROVOLTS, _MILLIVOLTS):
        source = reader(dtype)
        try:
            samples = np.concatenate(list(source.blocks()))
            break
        except TooLargeForInt16:
            continue
    digests = np.asarray([waveform_digest(recording) for recording in samples])
    signals = ScaledSignals(samples, units_per_mv=UNITS_PER_MV[samples.dtype])
    return Stored(signals, digests, tuple(getattr(source, "unusable", ())))


def _cached(
    database: Database,
    reader: Callable[[str], Reader],
    shape: list[Any],
    ids: list[str],
    states: list[list[Any]],
    cache_dir: str | os.PathLike | None,
) -> CachedSignals:
    described = json.dumps([FORMAT, database.name, *shape])
    source = hashlib.sha256(json.dumps([described, ids, states]).encode()).hexdigest()
    stem = f"{database.name}_{shape[0]:g}hz_{hashlib.sha256(described.encode()).hexdigest()[:8]}"

    def make(dtype: str) -> CachedSignals:
        name, read = f"{stem}_{dtype[1:]}", functools.partial(reader, dtype)
        return open_cache(database.root, name, source, len(ids), read, cache_dir, ids=ids)

    cached = find_cache(database.root, f"{stem}_{_MILLIVOLTS[1:]}", source, len(ids), cache_dir)
    if cached is None:
        try:
            cached = make(_MICROVOLTS)
        except TooLargeForInt16:
            cached = make(_MILLIVOLTS)
    return cached

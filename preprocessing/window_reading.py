"""Windows of the recordings of any database as one array: each recording is read once."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from databases import Database
from preprocessing.reading import (
    BLOCK,
    Stored,
    note_left_out,
    read_at_rate,
    report_problems,
    stored_as,
    through_cache,
)
from utils.errors import DataError

logger = logging.getLogger(__name__)


class Cut(NamedTuple):
    """Where windows lie.

    ``rows`` (N,): row of the record in the database's table; windows of a record follow each other.
    ``starts`` (N,): first sample at the rate of the windows; before it and after the end of a record, zeros.
    ``samples``: of each window.
    ``leads`` (N,): the only lead of each window, or None for all of the dataset's leads.
    """

    rows: np.ndarray
    starts: np.ndarray
    samples: int
    leads: np.ndarray | None = None


class WindowReader:
    """Windows in their order, resampled.

    ``leads``: of the recordings, in this order.
    ``rate``: in Hz.
    ``drop``: leave out records that cannot be read, whose windows are then zeros, in `unusable`.
    ``dtype``: int16 for microvolts, float32 for millivolts.
    """

    def __init__(
        self, database: Database, cut: Cut, leads: Sequence[str], rate: float, drop: bool, dtype: str
    ) -> None:
        self.unusable: list[int] = []
        self._drop = drop
        self._database, self._cut, self._leads, self._rate = database, cut, tuple(leads), rate
        self.dtype = np.dtype(dtype)
        self.shape = (len(cut.rows), cut.samples, len(self._leads) if cut.leads is None else 1)

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the windows; one error lists all records that cannot be used, (<= 64, T, leads)."""
        cut, ids = self._cut, self._database.records.index
        problems: dict[Any, str] = {}
        signal, names, row, padded = np.empty((0, len(self._leads))), self._leads, -1, 0
        with tqdm(total=len(cut.rows), desc=self._database.name, unit="window", disable=None) as bar:
            for first in range(0, len(cut.rows), BLOCK):
                block = np.zeros((min(BLOCK, len(cut.rows) - first), *self.shape[1:]), self.dtype)
                for number, target in enumerate(block, first):
                    if cut.rows[number] != row:
                        row = int(cut.rows[number])
                        names = self._leads_of(number)
                        signal = self._read(ids[row], row, names, problems)
                    padded += self._fill(target, signal, names, number)
                bar.update(len(block))
                if not problems or self._drop:  # otherwise only the list of them is wanted
                    yield block
        report = note_left_out if self._drop else report_problems
        report(self._database, list(problems.values()), len(np.unique(cut.rows)))
        if padded:
            logger.info(f"{padded} of {len(cut.rows)} windows reach beyond their record: zeros stand there")

    def _leads_of(self, number: int) -> tuple[str, ...]:
        """Leads that the windows of a record need; `number` is the first of them."""
        if self._cut.leads is None:
            return self._leads
        others = np.flatnonzero(self._cut.rows[number:] != self._cut.rows[number])
        end = number + int(others[0]) if len(others) else len(self._cut.rows)
        return tuple(dict.fromkeys(self._cut.leads[number:end].tolist()))

    def _read(self, record: Any, row: int, leads: Sequence[str], problems: dict[Any, str]) -> np.ndarray:
        try:
            return read_at_rate(self._database, record, leads, self._rate)
        except DataError as error:
            problems[record] = f"  {record}: {error}"
            self.unusable.append(row)
            return np.zeros((0, len(leads)))

    def _fill(self, target: np.ndarray, signal: np.ndarray, leads: Sequence[str], number: int) -> bool:
        """Write a window, and say whether it reaches beyond its record."""
        start, samples = int(self._cut.starts[number]), self._cut.samples
        first, last = max(start, 0), min(start + samples, len(signal))
        if self._cut.leads is not None:
            signal = signal[:, [leads.index(self._cut.leads[number])]]
        if last > first:
            target[first - start : last - start] = stored_as(signal[first:last], self.dtype)
        return last - first < samples


def read_windows(
    database: Database,
    cut: Cut,
    leads: Sequence[str],
    rate: float,
    cache_dir: str | os.PathLike | None = None,
    drop: bool = False,
) -> Stored:
    """Signals of windows, through the cache."""
    ids = database.records.index
    places = hashlib.sha256(np.ascontiguousarray(np.stack([cut.rows, cut.starts])).tobytes())
    places.update("\0".join([] if cut.leads is None else cut.leads.tolist()).encode())
    shape = [rate, cut.samples, list(leads), "windows", places.hexdigest()]
    shape += ["drop"] if drop else []
    reader = functools.partial(WindowReader, database, cut, leads, rate, drop)
    return through_cache(database, reader, shape, [str(ids[row]) for row in cut.rows], cache_dir)

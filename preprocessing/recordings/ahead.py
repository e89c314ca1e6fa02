"""Recordings read and prepared in processes of their own while a model works on those before."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from databases.base import Recording
from preprocessing.recordings.external import prepare, read_recording, whole_length
from utils.errors import TwelveLeadError
from utils.threads import thread_count

_WORTH_A_PROCESS = 64  # recordings; below, starting one takes longer than reading them
_MOST_PROCESSES = 8
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How recordings are read, and the rate in Hz and number of samples that a model takes (0: all).

    ``any_leads``: the model reads one lead, whichever it is.
    """

    sampling_rate: float
    samples: int
    given_rate: float | None = None
    units: str | None = None
    leads: str | None = None
    start: float | None = None
    notch: int | None = None
    any_leads: bool = False

    def read(self, path: Path) -> Recording:
        """Read one recording and prepare it for the model."""
        seconds = self.samples / self.sampling_rate if self.samples else None
        asked = self.given_rate, self.units, self.leads, self.start, seconds, self.any_leads
        recording = read_recording(path, *asked)
        samples = self.samples or whole_length(recording, self.sampling_rate, self.start)
        return prepare(recording, self.sampling_rate, samples, self.start, self.notch)


def try_read(reading: Reading, paths: Sequence[Path]) -> list[Recording | str]:
    """Recordings, or why they cannot be read; no file ends the work on the others."""
    results: list[Recording | str] = []
    for path in paths:
        try:
            results.append(reading.read(path))
        except TwelveLeadError as error:
            results.append(str(error))
        except Exception as error:  # one unforeseen file in a million must not end the batch
            results.append(f"{path}: reading it failed unexpectedly ({type(error).__name__}: {error})")
    return results


def read_ahead(
    reading: Reading, paths: Sequence[Path], chunk: int, processes: int | ReadingPool = 0
) -> Iterator[tuple[Sequence[Path], list[Recording | str]]]:
    """Read recordings in chunks, in order; `processes` read ahead (0: as many as are worth it).

    No more chunks are in memory than there are processes, and two. Processes that are given stay open.
    """
    chunks = [paths[first : first + chunk] for first in range(0, len(paths), chunk)]
    if not processes and len(paths) < _WORTH_A_PROCESS:
        for part in chunks:
            yield part, try_read(reading, part)
        return
    if isinstance(processes, ReadingPool):
        yield from _read(processes, reading, chunks)
        return
    pool = ReadingPool(processes or max(1, min(_MOST_PROCESSES, thread_count() // 2)))
    try:
        yield from _read(pool, reading, chunks)
    finally:
        pool.close()


def _read(
    pool: ReadingPool, reading: Reading, chunks: Sequence[Sequence[Path]]
) -> Iterator[tuple[Sequence[Path], list[Recording | str]]]:
    waiting: deque[tuple[Sequence[Path], Future]] = deque()
    for part in chunks:
        waiting.append((part, pool.submit(try_read, reading, part)))
        if len(waiting) > pool.processes + 1:
            yield _result(pool, reading, waiting)
    while waiting:
        yield _result(pool, reading, waiting)


class ReadingPool:
    """Reading processes that are started again when a file kills one."""

    def __init__(self, processes: int):
        self.processes = processes
        self._start()

    def _start(self) -> None:
        # spawn: a copy of a process in which a framework runs its threads may hang
        self._executor = ProcessPoolExecutor(
            self.processes, multiprocessing.get_context("spawn"), initializer=_start_worker
        )

    def submit(self, work: Callable, *args: object) -> Future:
        """Queue work, in new processes where the old ones have died."""
        try:
            return self._executor.submit(work, *args)
        except BrokenProcessPool:
            self.close()
            self._start()
            return self._executor.submit(work, *args)

    def check(self) -> None:
        """Refuse to continue where processes do not even start, which no file is to blame for."""
        try:
            self.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise TwelveLeadError(
                "no process can be started to read ahead: a script that predicts many recordings needs "
                "`if __name__ == '__main__':`, and each process about 200 MB of memory"
            ) from error

    def close(self) -> None:
        """End the processes; what is queued is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, which ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the command is killed, which could not end it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _result(
    pool: ReadingPool, reading: Reading, waiting: deque[tuple[Sequence[Path], Future]]
) -> tuple[Sequence[Path], list[Recording | str]]:
    """Result of the first chunk; where its process has died, its files are read one by one."""
    part, future = waiting.popleft()
    try:
        return part, future.result()
    except BrokenProcessPool:
        pool.check()
        logger.warning("a reading process has died; its files are read again, one by one")
    results: list[Recording | str] = []
    for path in part:
        try:
            results += pool.submit(try_read, reading, [path]).result()
        except BrokenProcessPool:
            results.append(f"{path}: reading it ends the process (a crash, or the memory does not suffice)")
    for index, (later, _) in enumerate(waiting):
        waiting[index] = later, pool.submit(try_read, reading, later)
    return part, results

"""Download the files of a database, verified and resumable.

Every file is checked against the database's own SHA256SUMS.txt before it gets its name. Whatever interrupts
the download, the same call continues it: finished files are verified and kept, a partial file is completed.
"""

from __future__ import annotations

import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from databases.archives import Archives
from databases.base import Source
from databases.download.http_files import FetchFailure, FetchStopped, FileClient, only_download
from utils.config import Options, check_values, option
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import stays_inside

CHECKSUMS = "SHA256SUMS.txt"
_GIVE_UP_AFTER = 20  # failures in a row: the server is gone
_LISTED = 10  # failures named in the final message


class DownloadError(TwelveLeadError):
    """Some files could not be fetched; the same command continues."""


@dataclass(frozen=True)
class Summary:
    """What a download fetched (files, bytes received) and kept."""

    folder: Path
    fetched: int
    kept: int
    received: int


def parse_checksums(text: str) -> dict[str, str]:
    """Read a SHA256SUMS file."""
    checksums = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(?:\./)?(\S.*?)\s*", line)
        if not match:
            raise DataError(
                f"line {number} of {CHECKSUMS} is not '<hash> <path>': {line[:60]!r}; is the address right, "
                "or does a login page of the network answer instead?"
            )
        if not stays_inside(match[2]):
            raise DataError(f"line {number} of {CHECKSUMS} names a path outside the database: {match[2]!r}")
        checksums[str(PurePosixPath(match[2]))] = match[1].lower()
    return checksums


def choose_files(
    title: str, source: Source, checksums: Iterable[str], rates: Iterable[int], limit: int | None = None
) -> list[str]:
    """Choose what to fetch: the tables, then the records."""
    listed = set(checksums)
    for table in source.tables:
        if table not in listed:
            raise DataError(f"{CHECKSUMS} does not list {table}: is the address that of {title}?")
    files = [*source.tables, *(name for name in source.extras if name in listed)]
    for rate in rates:
        records = sorted(path for path in listed if re.fullmatch(source.records[rate], path))
        if not records:
            raise DataError(f"{CHECKSUMS} lists no records at {rate} Hz: is the address right?")
        first = set(sorted({path.rsplit(".", 1)[0] for path in records})[:limit])
        files += [path for path in records if path.rsplit(".", 1)[0] in first]
    return files


def _fetch_all(client: FileClient, names: list[str], checksums: dict[str, str], workers: int) -> Iterator:
    """Fetch files on several threads; yields (name, True, False or the exception) as they finish."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    done: queue.SimpleQueue = queue.SimpleQueue()
    for name in names:
        waiting.put(name)

    def work() -> None:
        while not client.stop.is_set():
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((name, client.fetch(name, checksums[name])))
            except FetchStopped:
                return
            except Exception as error:  # carried to the main thread, which decides
                done.put((name, error))

    # daemon threads: one that waits for a stalled server does not delay Ctrl-C, and its part stays usable
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(names)))]
    for thread in threads:
        thread.start()
    try:
        for _ in names:
            yield done.get()
    finally:
        client.stop.set()
        for thread in threads:
            thread.join(timeout=2.0)


@dataclass
class FetchOptions(Options):
    """How a database is downloaded."""

    limit: int | None = option(None, "only the first LIMIT records of each rate", min=1)
    workers: int = option(8, "files at the same time", min=1, scope="machine")
    url: str = option("", "another address of the same files, for example a mirror", scope="machine")
    retries: int = option(5, "further attempts for each file", min=0, scope="machine")
    timeout: float = option(30.0, "seconds without a byte that count as a stall", above=0, scope="machine")


def download(
    title: str,
    source: Source | Archives,
    to: str | os.PathLike,
    rates: Iterable[int] = (),
    backoff: float = 0.5,
    **options: Any,
) -> Summary:
    """Download a database, or continue a download; ``options``: those of `FetchOptions`.

    ``rates``: sampling rates in Hz; by default the first that the database has.
    ``backoff``: seconds before the second attempt, doubled for each further one.
    """
    how = FetchOptions(**options)
    check_values(how)
    if how.url and not re.match(r"https?://", how.url):
        raise UsageError(f"the address '{how.url}' does not begin with http:// or https://")
    if isinstance(source, Archives):
        from databases.download.archives import download_archives

        return _writing(Path(to), lambda: download_archives(title, source, Path(to), how, rates, backoff))
    rates = list(dict.fromkeys(rates)) or list(source.records)[:1]
    url = how.url or source.url
    if not set(rates) <= set(source.records):
        raise UsageError(f"rates are {rates}: {title} has {', '.join(map(str, source.records))} Hz")
    folder = Path(to)
    client = FileClient(url, folder, how.retries, how.timeout, backoff)

    def fetch() -> Summary:
        with only_download(folder):
            checksums = _get_checksums(client, folder)
            names = choose_files(title, source, checksums, rates, how.limit)
            return _run(client, names, checksums, how.workers)

    try:
        return _writing(folder, fetch)
    finally:
        client.close()


def _writing(folder: Path, fetch: Callable[[], Summary]) -> Summary:
    """Run a download; an error of the disk says what to do."""
    try:
        return fetch()
    except OSError as error:
        raise TwelveLeadError(
            f"cannot write to {folder}: {error.strerror or error}; check the disk, then run the command "
            "again: it continues"
        ) from error


def _get_checksums(client: FileClient, folder: Path) -> dict[str, str]:
    """Read SHA256SUMS.txt from the folder, or fetch it: a release of a database does not change."""
    path = folder / CHECKSUMS
    if not path.is_file():
        try:
            client.fetch(CHECKSUMS, None)
        except FetchFailure as failure:
            raise DownloadError(
                f"cannot fetch {client.url}{CHECKSUMS}: {failure}; try again later"
            ) from failure
    try:
        return parse_checksums(path.read_text(encoding="utf-8", errors="replace"))
    except DataError:
        path.unlink()  # not a list of checksums: the next run fetches it again
        raise


def _run(client: FileClient, names: list[str], checksums: dict[str, str], workers: int) -> Summary:
    fetched, failures, in_a_row = 0, {}, 0
    with tqdm(total=len(names), unit="file", desc="download", disable=None) as bar:
        for name, outcome in _fetch_all(client, names, checksums, workers):
            if isinstance(outcome, FetchFailure):
                failures[name] = str(outcome)
                in_a_row += 1
                if in_a_row == _GIVE_UP_AFTER:
                    break
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                fetched += outcome
                in_a_row = 0
            bar.set_postfix_str(f"{client.received / 1e6:.1f} MB, {len(failures)} failed", refresh=False)
            bar.update()
    if failures:
        raise DownloadError(_describe(failures, len(names), in_a_row == _GIVE_UP_AFTER))
    return Summary(client.folder, fetched, len(names) - fetched, client.received)


def _describe(failures: dict[str, str], total: int, gave_up: bool) -> str:
    lines = [f"{len(failures)} of {total} files could not be fetched:"]
    lines += [f"  {name}: {reason}" for name, reason in list(failures.items())[:_LISTED]]
    if len(failures) > _LISTED:
        lines.append(f"  and {len(failures) - _LISTED} more")
    if gave_up:
        lines.append(f"Stopped after {_GIVE_UP_AFTER} failures in a row.")
    lines.append("Run the same command again: it continues where this one ended.")
    if any("SHA-256" in reason for reason in failures.values()):
        lines.append(f"If a SHA-256 is still wrong then, delete {CHECKSUMS} in the folder first.")
    return "\n".join(lines)

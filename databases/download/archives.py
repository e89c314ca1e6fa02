"""Download databases that come as archives without checksums: pinned by the sums of the first download."""

from __future__ import annotations

import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from databases.archives import Archives
from databases.download.fetch import DownloadError, FetchOptions, Summary, parse_checksums
from databases.download.http_files import FetchFailure, FileClient, only_download
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import atomic_path, sha256, stays_inside, write_text

logger = logging.getLogger(__name__)
PINS = "SHA256SUMS.first-download.txt"
_BLOCK = 1 << 20


def download_archives(
    title: str,
    source: Archives,
    folder: Path,
    how: FetchOptions,
    rates: Iterable[int] = (),
    backoff: float = 0.5,
) -> Summary:
    """Download and unpack archives, or continue; the same call verifies what is there.

    A file that is fetched for the first time is checked by its length and, an archive, by the checksums
    inside it. Its SHA-256 is then written down, and every later download has to match it.
    """
    if how.limit or list(rates):
        raise UsageError(f"{title} comes in archives: leave --limit and --records out")
    with only_download(folder):
        pins = _pins(folder)
        fetched = received = 0
        for url in tqdm(source.urls, unit="file", desc="download", disable=None):
            base, _, name = url.rpartition("/")
            client = FileClient(how.url or base, folder, how.retries, how.timeout, backoff)
            try:
                fetched += client.fetch(name, pins.get(name), resume=True)
            except FetchFailure as failure:
                raise DownloadError(_failed(client.url + name, str(failure), name in pins)) from failure
            finally:
                client.close()
                received += client.received
            if name not in pins:
                _check_archive(folder / name)
                pins[name] = sha256(folder / name)
                lines = "".join(f"{digest}  {file}\n" for file, digest in pins.items())
                write_text(folder / PINS, lines)
                logger.info(
                    f"note: {title} publishes no checksums: the SHA-256 of this first download of {name} is "
                    f"in {folder / PINS}; compare it with that of somebody else"
                )
        for url in source.urls:
            _unpack(folder / url.rpartition("/")[2], source.members, folder)
    return Summary(folder, fetched, len(source.urls) - fetched, received)


def _pins(folder: Path) -> dict[str, str]:
    path = folder / PINS
    try:
        return parse_checksums(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and its files are pinned again") from error


def _failed(address: str, reason: str, pinned: bool) -> str:
    text = f"cannot fetch {address}: {reason}; run the same command again: it continues"
    if pinned and "SHA-256" in reason:
        text += f". If the file on the server was replaced on purpose, delete its line in {PINS} first"
    return text


def _check_archive(path: Path) -> None:
    """Refuse, and delete, an archive whose content does not fit its own checksums."""
    if path.suffix.lower() != ".zip":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        damaged = str(error) or type(error).__name__
    if damaged:
        path.unlink()
        raise DownloadError(
            f"{path.name} is damaged ({damaged}) and was deleted: run the same command again; if a login "
            "page of the network answered instead, log in first"
        )


def _unpack(path: Path, members: str, folder: Path) -> None:
    """Write what belongs to the database; files that are there already, complete, stay."""
    if path.suffix.lower() == ".rar":
        logger.info(f"note: unpack {path} into {folder} yourself, for example with bsdtar or unar")
    if path.suffix.lower() != ".zip":
        return
    with zipfile.ZipFile(path) as archive:
        wanted = [
            (match[1], info) for info in archive.infolist() if (match := re.fullmatch(members, info.filename))
        ]
        if not wanted:
            raise DataError(f"{path} has no file of the database ({members}): is it the right archive?")
        needed = sum(info.file_size for name, info in wanted if not (folder / name).is_file())
        if needed > shutil.disk_usage(folder).free:
            raise TwelveLeadError(f"{path} needs {needed / 1e9:.1f} GB in {folder}, more than is free there")
        for name, info in tqdm(wanted, desc=f"unpack {path.name}", unit="file", leave=False, disable=None):
            if not stays_inside(name):
                raise DataError(f"{path} names a file outside the database: {info.filename!r}")
            file = folder / PurePosixPath(name)
            if file.is_file() and file.stat().st_size == info.file_size and _crc(file) == info.CRC:
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as content, atomic_path(file) as temporary, open(temporary, "wb") as copy:
                shutil.copyfileobj(content, copy, _BLOCK)


def _crc(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value

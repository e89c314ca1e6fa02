"""One array in one file instead of tens of thousands of small files.

The recordings of a database are read and verified once and kept as ``<name>_<source>.npy`` with a JSON
sidecar of the same name. `<source>` is a fingerprint of the list of records and of the size and time of each
file, so another state of the database never meets an old cache. The sidecar is written last, so a process
that dies at any time leaves no half-written cache. It holds a digest of each recording, and a CRC, which is
five times as fast and is compared when the recording is first read.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from preprocessing.signals import SampleFile, waveform_digest
from utils.errors import DataError
from utils.files import atomic_path, read_json, write_json

FORMAT = 1
CACHE_VARIABLE = "TWELVELEAD_CACHE"
UNITS_PER_MV = {np.dtype("<i2"): 1000, np.dtype("<f4"): 1}  # of the stored samples

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """Source of a cache.

    ``shape`` (N, T, leads) and ``dtype`` (int16 microvolts or float32 millivolts) of all recordings together.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """Recordings in order, shape (n, T, leads); a buffer may be used again."""


class CachedFile(SampleFile):
    """The array of a cache; each recording is verified when it is first read.

    ``card``: the sidecar; caches of older versions have digests alone.
    """

    def __init__(self, path: Path, card: dict[str, Any], verified: bool = False) -> None:
        super().__init__(path)
        self._crcs: list[int] | None = card.get("crc32")
        self._digests: list[str] = card["digests"]
        self._verified = np.full(len(self), verified)

    def _check(self, row: int, samples: np.ndarray) -> None:
        if self._verified[row]:
            return
        if self._crcs is not None:
            intact = zlib.crc32(samples.data) == self._crcs[row]
        else:
            intact = waveform_digest(samples) == self._digests[row]
        if not intact:
            path = Path(self._path)
            with contextlib.suppress(OSError):
                path.with_suffix(".json").unlink()
            raise DataError(
                f"{path} is damaged: recording {row} is not what was written. The cache is discarded; "
                "run the command again, which makes a new one, and check the disk"
            )
        self._verified[row] = True


@dataclass(frozen=True)
class CachedSignals:
    """The recordings of a database.

    ``samples`` (N, T, leads): int16 microvolts or float32 millivolts.
    ``digests`` (N,): fingerprint of each recording.
    ``unusable``: rows of the database's records that could not be read, where its reader leaves them out.
    """

    samples: CachedFile
    digests: np.ndarray
    unusable: tuple[int, ...] = ()


def _folder_of(base: Path, data_dir: Path) -> Path:
    """Folder of one database in a cache that several share."""
    return base / hashlib.sha256(os.fspath(data_dir.resolve()).encode()).hexdigest()[:12]


def cache_folders(data_dir: str | os.PathLike, cache_dir: str | os.PathLike | None = None) -> list[Path]:
    """List where a cache of the database may lie; beside the table of a database that is a table."""
    data_dir = Path(data_dir)
    data_dir = data_dir.parent if data_dir.is_file() else data_dir
    named = cache_dir or os.environ.get(CACHE_VARIABLE)
    if named:
        return [_folder_of(Path(named), data_dir)]
    beside = data_dir / ".twelvelead_cache"
    try:
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and the user has no entry in the password file, as in some containers
        return [beside]
    return [beside, _folder_of(user / "twelvelead", data_dir)]


def _writable(folder: Path) -> bool:
    """Whether files can be created in a folder; one marked read-only is left alone, even by root."""
    existing = folder
    while not os.path.exists(existing):  # False, too, where we may not look
        existing = existing.parent
    return os.access(existing, os.W_OK) and bool(existing.stat().st_mode & 0o222)


def first_writable(folders: list[Path]) -> Path:
    """The first folder in which files can be created, else the last."""
    return next((folder for folder in folders if _writable(folder)), folders[-1])


def _open(path: Path, source: str, count: int, just_written: bool = False) -> CachedSignals | None:
    """The cache at `path`, or None if it is absent, incomplete or not what its sidecar describes."""
    sidecar = path.with_suffix(".json")
    if not (os.path.isfile(path) and os.path.isfile(sidecar)):
        return None
    try:
        card = read_json(sidecar)
        digests = np.asarray(card["digests"], dtype="<U32")
        if digests.shape != (count,) or len(card.get("crc32", digests)) != count:
            return None
        samples = CachedFile(path, card, just_written)
        state = path.stat()
        if (
            card["source"] != source
            or list(samples.shape) != card["shape"]
            or len(samples) != count
            or state.st_size != card["bytes"]
        ):
            return None
        if state.st_mtime_ns != card["mtime_ns"]:  # copied or changed: check now, not in the middle of a run
            for row in range(count):
                samples[row]
    except (DataError, KeyError, TypeError, ValueError, EOFError, OSError):
        return None
    return CachedSignals(samples, digests, tuple(map(int, card.get("unusable", ()))))


def _write(path: Path, reader: Reader, card: dict[str, Any]) -> None:
    digests: list[str] = []
    crcs: list[int] = []
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": reader.dtype.str, "fortran_order": False, "shape": reader.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in reader.blocks():
            digests += [waveform_digest(samples) for samples in block]
            crcs += [zlib.crc32(samples.data) for samples in block]
            file.write(block.data)
    state = path.stat()
    card |= {
        "shape": list(reader.shape),
        "bytes": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "digests": digests,
        "crc32": crcs,
    }
    if unusable := getattr(reader, "unusable", ()):
        card["unusable"] = list(unusable)
    write_json(path.with_suffix(".json"), card)


def _remove_leftovers(path: Path, prefix: str) -> None:
    """Delete caches of other states of the database, and what killed processes left, both after an hour.

    Younger ones may be in use by another process: one that leaves out missing records, for example, sees
    another state of the same folder.
    """
    others = [old for old in path.parent.glob(f"{prefix}*") if old.stem != path.stem]
    for other in [*others, *path.parent.glob(f".partial-*{prefix}*")]:
        with contextlib.suppress(FileNotFoundError):  # another process may just have finished or removed it
            if time.time() - other.stat().st_mtime > 3600:
                other.unlink()


def _file_name(name: str, source: str) -> str:
    return f"{name}_{source[:16]}.npy"


def find_cache(
    data_dir: str | os.PathLike,
    name: str,
    source: str,
    count: int,
    cache_dir: str | os.PathLike | None = None,
) -> CachedSignals | None:
    """Open the recordings of a database from the cache, if there is one."""
    for folder in cache_folders(data_dir, cache_dir):
        cached = _open(folder / _file_name(name, source), source, count)
        if cached is not None:
            return cached
    return None


def open_cache(
    data_dir: str | os.PathLike,
    name: str,
    source: str,
    count: int,
    make_reader: Callable[[], Reader],
    cache_dir: str | os.PathLike | None = None,
    **description: Any,
) -> CachedSignals:
    """Open the recordings of a database from the cache, which is written first if it is absent.

    ``name``: of the file, such as ``ptbxl_100hz``; a cache of another source under this name is replaced.
    ``source``: fingerprint of the records and files.
    ``description``: further entries of the sidecar.
    """
    cached = find_cache(data_dir, name, source, count, cache_dir)
    if cached is not None:
        return cached
    folders = cache_folders(data_dir, cache_dir)
    folder = first_writable(folders)
    if folder != folders[0]:
        logger.info(
            f"{data_dir} is read-only: its recordings are cached in {folder} (choose with {CACHE_VARIABLE})"
        )
    path = folder / _file_name(name, source)
    reader = make_reader()
    card = {"format": FORMAT, "source": source, "units_per_mv": UNITS_PER_MV[reader.dtype], **description}
    _write(path, reader, card)
    _remove_leftovers(path, f"{name}_")
    cached = _open(path, source, count, just_written=True)
    if cached is None:
        raise DataError(f"{path} was written but cannot be read back: check the disk")
    return cached

"""One array in one file instead of tens of thousands of small files.

The recordings of a database are read and verified once and kept as ``ptbxl_<rate>hz_<source>.npy`` (int16
microvolts) with a JSON sidecar of the same name. `<source>` is a fingerprint of the list of records and of
the size and time of each file, so another state of the database never meets an old cache. The sidecar is
written last: without it there is no cache, whenever the process dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from databases.ptbxl_signals import RecordReader, file_states
from databases.wfdb_files import UNITS_PER_MV
from preprocessing.signals import SampleFile, waveform_digest
from utils.errors import DataError
from utils.files import atomic_path, read_json, write_json

FORMAT = 1
CACHE_VARIABLE = "TWELVELEAD_CACHE"


@dataclass(frozen=True)
class CachedSignals:
    """The recordings of a database.

    ``samples`` (N, T, 12): microvolts.
    ``digests`` (N,): fingerprint of each recording.
    """

    samples: SampleFile
    digests: np.ndarray


def _source_fingerprint(
    ecg_ids: Sequence[int], filenames: Sequence[str], rate: int, states: np.ndarray
) -> str:
    listed = json.dumps([FORMAT, rate, [int(i) for i in ecg_ids], list(filenames)])
    return hashlib.sha256(listed.encode() + states.tobytes()).hexdigest()


def _folder_of(base: Path, data_dir: Path) -> Path:
    """A folder of its own for each database, in a cache that several share."""
    return base / hashlib.sha256(os.fspath(data_dir.resolve()).encode()).hexdigest()[:12]


def cache_folders(data_dir: str | os.PathLike, cache_dir: str | os.PathLike | None = None) -> list[Path]:
    """Tell where a cache of the database may lie."""
    data_dir = Path(data_dir)
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
    """Whether files may be made there; a folder marked read-only is left alone, even by root."""
    existing = folder
    while not os.path.exists(existing):  # False, too, where we may not look
        existing = existing.parent
    return os.access(existing, os.W_OK) and bool(existing.stat().st_mode & 0o222)


def _open(path: Path, source: str, count: int) -> CachedSignals | None:
    """The cache at `path`, or None if it is absent, incomplete or not what its sidecar describes."""
    sidecar = path.with_suffix(".json")
    if not (os.path.isfile(path) and os.path.isfile(sidecar)):
        return None
    try:
        card = read_json(sidecar)
        samples = SampleFile(path)
        digests = np.asarray(card["digests"], dtype="<U32")
        state = path.stat()
        if (
            card["source"] != source
            or list(samples.shape) != card["shape"]
            or len(samples) != count
            or digests.shape != (count,)
            or state.st_size != card["bytes"]
        ):
            return None
        touched = state.st_mtime_ns != card["mtime_ns"]
    except (DataError, KeyError, TypeError, ValueError, EOFError, OSError):
        return None
    if touched and any(waveform_digest(samples[i]) != digest for i, digest in enumerate(digests)):
        return None
    return CachedSignals(samples, digests)


def _write(path: Path, reader: RecordReader, card: dict) -> None:
    digests = []
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": "<i2", "fortran_order": False, "shape": reader.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in reader.blocks():
            digests += [waveform_digest(samples) for samples in block]
            file.write(block.data)
    state = path.stat()
    card |= {
        "shape": list(reader.shape),
        "bytes": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "digests": digests,
    }
    write_json(path.with_suffix(".json"), card)


def _remove_leftovers(path: Path, prefix: str) -> None:
    """Delete caches of other states of the database, and what killed processes left, both after an hour.

    What is younger may be in the hands of another process: one that leaves out missing records, for example,
    sees another state of the same folder.
    """
    others = [old for old in path.parent.glob(f"{prefix}*") if old.stem != path.stem]
    for other in [*others, *path.parent.glob(f".partial-*{prefix}*")]:
        with contextlib.suppress(FileNotFoundError):  # another process may just have finished or removed it
            if time.time() - other.stat().st_mtime > 3600:
                other.unlink()


def open_signals(
    data_dir: str | os.PathLike,
    ecg_ids: Sequence[int],
    filenames: Sequence[str],
    sampling_rate: int,
    cache_dir: str | os.PathLike | None = None,
) -> CachedSignals:
    """Open the recordings of a database from the cache, and make the cache first where there is none."""
    states = file_states(data_dir, filenames)
    source = _source_fingerprint(ecg_ids, filenames, sampling_rate, states)
    prefix = f"ptbxl_{sampling_rate}hz_"
    folders = cache_folders(data_dir, cache_dir)
    for folder in folders:
        found = _open(folder / f"{prefix}{source[:16]}.npy", source, len(ecg_ids))
        if found is not None:
            return found
    folder = next((f for f in folders if _writable(f)), folders[-1])
    if folder != folders[0]:
        print(
            f"{data_dir} is read-only: its recordings are cached in {folder} (choose with {CACHE_VARIABLE})"
        )
    path = folder / f"{prefix}{source[:16]}.npy"
    card = {
        "format": FORMAT,
        "source": source,
        "sampling_rate": sampling_rate,
        "units_per_mv": UNITS_PER_MV,
        "ecg_ids": [int(i) for i in ecg_ids],
    }
    _write(path, RecordReader(data_dir, ecg_ids, filenames, sampling_rate), card)
    _remove_leftovers(path, prefix)
    made = _open(path, source, len(ecg_ids))
    if made is None:
        raise DataError(f"{path} was written but cannot be read back: check the disk")
    return made

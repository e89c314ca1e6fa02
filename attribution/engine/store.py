"""Finished work that later commands take up: items of a running job, and the record of a folder's results.

Work made from other inputs is discarded, and a message says so; work made with other settings is refused
unless it may be overwritten.
"""

from __future__ import annotations

import io
import json
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from utils.errors import DataError, UsageError
from utils.files import jsonable, read_json, write_error, write_json

_log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
RECORD = "args.json"
_HEAD = struct.Struct("<QI")  # length and CRC-32 of a block


def is_current(
    what: str | Path,
    before: Mapping[str, Any],
    source: Mapping[str, Any],
    settings: Mapping[str, Any],
    overwrite: bool = False,
) -> bool:
    """Whether finished work was made from this source with these settings."""
    other = [name for name, value in source.items() if before["source"].get(name) != value]
    if other:
        _log.warning(f"{what} was made from other {', '.join(other)}: it is made again")
        return False
    changed = [
        f"{name} was {before['settings'].get(name)!r}, is now {value!r}"
        for name, value in settings.items()
        if before["settings"].get(name) != value
    ]
    if changed and not overwrite:
        raise UsageError(
            f"{what} was made with other settings ({'; '.join(changed)}): replace it with --overwrite, or "
            "choose another --result_dir"
        )
    return not changed


class ResumableTable:
    """Finished items of a running job, appended to a file one by one: a kill loses at most the running item.

    ``source``: what the items are made from (JSON).
    ``settings``: how they are made (JSON).
    """

    def __init__(
        self, path: Path, source: Mapping[str, Any], settings: Mapping[str, Any], overwrite: bool = False
    ):
        self.path, self.items = path, dict[str, Arrays]()
        self._head = jsonable({"source": source, "settings": settings})
        if path.exists():
            valid = self._read(path.read_bytes(), overwrite)
            os.truncate(path, valid)

    def _read(self, content: bytes, overwrite: bool) -> int:
        """Take the items of a file; returns the length of its valid part."""
        valid = 0
        try:
            for block, stop in _blocks(content):
                if not valid:
                    before = json.loads(block)
                    if not is_current(self.path, before, **self._head, overwrite=overwrite):
                        return 0
                else:
                    with np.load(io.BytesIO(block), allow_pickle=False) as file:
                        arrays = {name: file[name] for name in file.files}
                    self.items[str(arrays.pop("key"))] = arrays
                valid = stop
        except (ValueError, KeyError, TypeError, AttributeError, BadZipFile):
            pass  # told below: the file ends before this block
        if valid < len(content):
            _log.warning(f"{self.path} is damaged: {len(self.items)} finished items of it are kept")
        return valid

    def append(self, key: str, arrays: Arrays) -> None:
        content = io.BytesIO()
        np.savez(content, key=np.array(key), **arrays)  # type: ignore[arg-type]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                if not file.tell():
                    file.write(_block(json.dumps(self._head).encode()))
                file.write(_block(content.getvalue()))
        except OSError as error:
            raise write_error(self.path, error) from error
        self.items[key] = arrays

    def item(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """An item, made where it is missing."""
        if key not in self.items:
            self.append(key, make())
        return self.items[key]

    def rows(self, count: int, chunk: int, make: Callable[[slice], Arrays], **bar: Any) -> Arrays:
        """Columns with `count` rows, made in chunks where they are missing."""
        chunks: list[Arrays] = []
        start = 0
        with tqdm(total=count, **bar) as progress:
            while start < count:
                part = slice(start, min(start + chunk, count))
                chunks.append(self.item(str(start), partial(make, part)))
                rows = len(next(iter(chunks[-1].values())))
                start += rows
                progress.update(rows)
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def remove(self) -> None:
        """Remove the file of a finished job."""
        self.path.unlink(missing_ok=True)


def _block(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _blocks(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Intact blocks from the beginning of a file, each with the place where it ends."""
    start = 0
    while start + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, start)
        start += _HEAD.size
        payload = content[start : start + length]
        start += length
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload, start


def read_record(folder: Path) -> dict[str, Any]:
    """How the content of a result folder was made: the settings of its maps, and entries for its scores."""
    path = folder / RECORD
    record = read_json(path) if path.exists() else {}
    try:
        for section, convert in _FORMER.items():
            former = folder / "scores" / f"{section}.json"
            if section not in record and former.exists():
                path = former
                record[section] = {method: convert(entry) for method, entry in read_json(path).items()}
        return dict(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a record of the attribution study: delete it and start again"
        ) from error


# files of the version before: how an entry of them reads now
_FORMER: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "evaluate": lambda entry: {
        "source": {"maps": entry["maps"]},
        "settings": entry["how"],
        "undefined": entry["undefined"],
    },
    "sanity": lambda entry: {
        "source": {"maps": entry["maps_sha256"]},
        "settings": {name: entry[name] for name in ("windows", "seeds", "seed", "independent")},
        "groups": entry["groups"],
    },
}


def write_entry(
    folder: Path, section: str, method: str, entry: dict[str, Any], args: Mapping[str, Any] | None = None
) -> None:
    """Put the entry of a method into the record of a folder; what other commands wrote there stays.

    ``args``: record of the maps, for a folder that holds scores alone.
    """
    record = read_record(folder)
    if "dataset" not in record and args:
        record = {name: value for name, value in args.items() if name not in _FORMER} | record
    record.setdefault(section, {})[method] = entry
    write_json(folder / RECORD, record)

"""Rows of recordings that are predicted, kept on disk until their table is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocessing.recordings.formats import split_member
from utils.files import jsonable, write_error
from utils.tables import write_rows

_ROWS_AT_ONCE = 1000


class Journal:
    """Rows of recordings that are done, appended to a file: a kill loses the running batch alone.

    ``settings``: what the rows depend on; rows of other settings are not taken over.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        self._offsets: dict[str, int] = {}  # of the line of each record: the rows themselves stay on disk
        self._stamps: dict[str, str] = {}  # of recordings that an earlier run has predicted
        head = json.dumps(jsonable(settings), sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            valid = self._read(head)
            self._file = open(path, "r+b" if valid else "wb")  # noqa: SIM115 (closed on exit)
            self._file.truncate(valid)
            self._file.seek(valid)
            if not valid:
                self._file.write(head.encode() + b"\n")
        except OSError as error:
            raise write_error(path, error) from error

    def _read(self, head: str) -> int:
        """Take the rows of an earlier run with the same settings; returns the length of the valid lines."""
        if not self.path.is_file():
            return 0
        valid = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n") or (not valid and line != head.encode() + b"\n"):
                    break
                try:
                    if valid:
                        entry = json.loads(line)
                        self._note(entry["row"], valid)
                        if not entry["row"].get("error"):  # a missing file may be there now
                            self._stamps[entry["row"]["record"]] = entry["stamp"]
                except (ValueError, KeyError, TypeError):  # half a line, or another damage
                    break
                valid += len(line)
        return valid

    def _note(self, row: dict[str, Any], offset: int) -> None:
        self._offsets[row["record"]] = offset

    def holds(self, name: str, source: Path) -> bool:
        """Whether a recording was predicted before, and its file is unchanged."""
        return name in self._stamps and self._stamps[name] == stamp_of(source)

    def append(self, rows: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Keep the rows of a batch."""
        try:
            for source, row in rows:
                entry = {"stamp": stamp_of(source), "row": row}
                self._note(row, self._file.tell())
                self._file.write(json.dumps(jsonable(entry)).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error) from error

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of recordings, in their order."""
        self._file.flush()
        with open(self.path, "rb") as file:
            for name in names:
                file.seek(self._offsets[name])
                yield json.loads(file.readline())["row"]

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def finish(
        self, path: Path, names: Sequence[str], columns: Mapping[str, type], facts: Mapping[str, str]
    ) -> None:
        """Write the table of all recordings, and remove the journal."""
        parts = (
            list(self.rows(names[first : first + _ROWS_AT_ONCE]))
            for first in range(0, len(names), _ROWS_AT_ONCE)
        )
        write_rows(path, columns, parts, facts)
        self._file.close()
        self.path.unlink(missing_ok=True)


def stamp_of(source: Path) -> str:
    """Size and time of a file and of the signal file beside it."""
    source, _ = split_member(source)
    stamps = []
    for path in (source, source.with_suffix(".dat"), source.with_suffix(".mat")):
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        stamps.append(f"{path.suffix} {status.st_size} {status.st_mtime_ns}")
    return ", ".join(stamps)

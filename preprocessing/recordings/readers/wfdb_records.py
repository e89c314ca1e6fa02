"""Reader of WFDB records."""

from __future__ import annotations

import re
from pathlib import Path

from databases.wfdb_header import RecordError, read_header
from databases.wfdb_reader import read_channels
from preprocessing.recordings.formats import Format, RawFile, Request, register_format
from utils.errors import DataError


def is_header(head: bytes, path: Path) -> bool:
    """Whether the first line of a text that is not a comment names a record and counts its signals."""
    lines = [line.strip() for line in head.split(b"\n") if line.strip() and not line.startswith(b"#")]
    return bool(lines) and re.match(rb"[^\s,;]+\s+\d+(\s|$)", lines[0]) is not None and b"\0" not in head


def read_wfdb(header_path: Path, request: Request) -> RawFile:
    """Read a WFDB record of any signal format, gain and offset; sizes and checksums are verified."""
    try:
        return RawFile("WFDB", *read_channels(read_header(header_path.with_suffix(""))))
    except RecordError as error:
        raise DataError(f"{header_path}: {error.reason}; {error.remedy}") from error


def signal_files(header_path: Path) -> set[Path]:
    """The .mat of a CinC WFDB record is its signal file, not a recording of its own."""
    return {header_path.with_suffix(".mat")}


register_format(Format("WFDB", (".hea",), is_header, read_wfdb, parts=signal_files))

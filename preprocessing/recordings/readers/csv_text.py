"""Reader of tables of text."""

from __future__ import annotations

from pathlib import Path

from preprocessing.recordings.ecg_csv import read_csv
from preprocessing.recordings.formats import Format, RawFile, Request, register_format


def is_table(head: bytes, path: Path) -> bool:
    """Whether a file is text with digits and something that separates columns."""
    return b"\0" not in head and any(c in head for c in b",;\t") and any(c in head for c in b"0123456789")


def read_table(path: Path, request: Request) -> RawFile:
    """Read a CSV file whose first line names the columns."""
    return read_csv(path, request.sampling_rate is not None)


register_format(Format("CSV", (".csv",), is_table, read_table, specific=False))

"""Reader of tables of text: CSV, TSV and TXT."""

from __future__ import annotations

from pathlib import Path

from preprocessing.recordings.ecg_csv import read_csv
from preprocessing.recordings.formats import Format, register_format
from preprocessing.recordings.text_table import holds_table


def is_table(head: bytes, path: Path) -> bool:
    """Whether a file is text with rows of numbers."""
    return holds_table(head)


register_format(Format("CSV", (".csv", ".tsv", ".txt", ".tab"), is_table, read_csv, specific=False))

"""List the known databases and what is on this disk.

twelvelead databases --data_dir data
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from databases.base import Database
from databases.registry import database_class, list_databases, open_database
from utils.config import Options, option, parse
from utils.errors import TwelveLeadError

COLUMNS = ("name", "records", "leads", "rate (Hz)", "here", "license", "title")
FOLDERS = {"ptbxl": "ptb"}  # data/ptb is PTB-XL's folder in every command


@dataclass
class ListOptions(Options):
    """Options of the command."""

    data_dir: str = option("data", "folder with one folder for each database", scope="machine")


def on_disk(name: str, folder: Path) -> str:
    """Number of records in a folder; why it cannot be told otherwise."""
    if not folder.is_dir():
        return "-"
    try:
        return f"{len(open_database(name, folder).records):,}"
    except TwelveLeadError:
        return "unreadable"


def row(kind: type[Database], data_dir: Path) -> tuple[str, ...]:
    """Cells of a database, in the order of `COLUMNS`."""
    folder = data_dir / FOLDERS.get(kind.name, kind.name)
    size = f"{kind.size:,}" if kind.size else "?"
    rates = ", ".join(map(str, kind.rates)) or "any"
    return (
        kind.name,
        size,
        str(kind.lead_count or "?"),
        rates,
        on_disk(kind.name, folder),
        kind.license,
        kind.title,
    )


def main() -> None:
    """Run the command line."""
    options = parse(ListOptions, description="List the known databases and the records on this disk.")
    rows = [COLUMNS, *(row(database_class(name), Path(options.data_dir)) for name in list_databases())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print(f"\nhere: records in {options.data_dir}/NAME (ptbxl: ptb); twelvelead download fetches open ones")

"""List the known databases and what is on this disk; count or draw what one of them holds.

twelvelead databases --data_dir data
twelvelead databases mitdb --statistics
twelvelead databases ludb --plot 1 --to ludb_1.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from databases.base import Database
from databases.registry import database_class, list_databases, open_database
from utils.config import Options, option, parse
from utils.errors import TwelveLeadError, UsageError, run_cli

COLUMNS = ("name", "records", "leads", "rate (Hz)", "here", "license", "title")
FOLDERS = {"ptbxl": "ptb"}  # data/ptb is PTB-XL's folder in every command


@dataclass
class ListOptions(Options):
    """Options of the command."""

    name: str = option(
        "", "database to count or draw; without one all are listed", choices=list_databases, positional=True
    )
    data_dir: str = option(
        "data", "folder with one folder for each database; with a name also its own folder", scope="machine"
    )
    statistics: bool = option(False, "count records, patients, labels, beats, waves and rhythms")
    plot: str = option("", "record to draw with its annotations", metavar="RECORD")
    start: float = option(0.0, "second at which the picture begins", min=0)
    seconds: float = option(10.0, "seconds to draw", above=0, max=120)
    to: str = option("", "PNG to write (default: NAME_RECORD.png)", scope="machine")


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


def folder_of(name: str, data_dir: str) -> Path:
    """Folder of a database in one with a folder for each, else the folder or table that was named itself."""
    inside = Path(data_dir) / FOLDERS.get(name, name)
    return inside if inside.is_dir() else Path(data_dir)


def describe(options: ListOptions) -> None:
    """Count or draw what a database holds."""
    from databases.statistics import statistics_text

    database = open_database(options.name, folder_of(options.name, options.data_dir))
    if options.statistics or not options.plot:
        print(statistics_text(database, database.statistics()))
    if not options.plot:
        return
    number = database.records.index.dtype.kind in "iu" and options.plot.isdigit()
    record = int(options.plot) if number else options.plot
    path = Path(options.to or f"{options.name}_{Path(options.plot).stem}.png")
    database.plot(record, path, options.start, options.seconds)
    print(f"wrote {path}")


def main() -> None:
    """Run the command line."""
    options = parse(ListOptions, description=__doc__)
    if options.name:
        describe(options)
        return
    if options.statistics or options.plot:
        raise UsageError("--statistics and --plot need the name of a database: twelvelead databases NAME ...")
    rows = [COLUMNS, *(row(database_class(name), Path(options.data_dir)) for name in list_databases())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print(f"\nhere: records in {options.data_dir}/NAME (ptbxl: ptb); twelvelead download fetches open ones")


if __name__ == "__main__":
    run_cli(main)

"""Download a public ECG database.

    python -m databases.download ptbxl --to data/ptb

Every file is verified; the same command continues an interrupted download.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from databases.download.fetch import FetchOptions
from databases.registry import database_class, list_databases
from utils.config import option, parse


def downloadable() -> list[str]:
    """Names of the databases with a download address, or with words on how to get access."""
    kinds = {name: database_class(name) for name in list_databases()}
    return [name for name, kind in kinds.items() if kind.source or kind.access]


@dataclass
class DownloadOptions(FetchOptions):
    """Options of the command."""

    database: str = option("", "database", choices=downloadable, required=True, positional=True)
    to: str = option("", "target folder, for example data/ptb", required=True, scope="run")
    records: list[int] = option([], "sampling rates of ptbxl: 100 500 (default: 100)", metavar="HZ", min=1)


def main() -> None:
    """Run the command line."""
    options = parse(
        DownloadOptions,
        description="Download a public ECG database. Every file is verified against the database's SHA-256 "
        "sums, or against those of the first download where it publishes none; run the same command again to "
        "continue an interrupted download.",
    )
    database = database_class(options.database)
    how = {field.name: getattr(options, field.name) for field in fields(FetchOptions)}
    summary = database.download(options.to, rates=options.records, **how)
    print(
        f"{database.title} in {summary.folder}: {summary.fetched} files fetched "
        f"({summary.received / 1e6:.1f} MB), {summary.kept} were there and verified"
    )
    print(f"license: {database.license}; cite doi:{database.doi}")
    if options.limit and database.name == "ptbxl":
        print("the tables list all recordings: use this part with --partial (Python: on_missing='drop')")

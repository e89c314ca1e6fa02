"""Download a public ECG database.

    python -m databases.download ptbxl --to data/ptb

Every file is verified; the same command continues an interrupted download.
"""

from __future__ import annotations

from dataclasses import dataclass

from databases.registry import database_class, list_databases
from utils.config import Options, option, parse


def downloadable() -> list[str]:
    """Names of the databases with a download address."""
    return [name for name in list_databases() if database_class(name).source]


@dataclass
class DownloadOptions(Options):
    """Options of the command."""

    database: str = option("", "database", choices=downloadable, required=True, positional=True)
    to: str = option("", "target folder, for example data/ptb", required=True, scope="run")
    records: list[int] = option([], "sampling rates of ptbxl: 100 500 (default: 100)", metavar="HZ", min=1)
    limit: int | None = option(None, "only the first LIMIT records of each rate", min=1)
    workers: int = option(8, "files at the same time", min=1, scope="machine")
    url: str = option("", "another address of the same files, for example a mirror", scope="machine")
    retries: int = option(5, "further attempts for each file", min=0, scope="machine")
    timeout: float = option(30.0, "seconds without a byte that count as a stall", above=0, scope="machine")


def main() -> None:
    """Run the command line."""
    options = parse(
        DownloadOptions,
        description="Download a public ECG database. Every file is verified against the database's SHA-256 "
        "sums; run the same command again to continue an interrupted download.",
    )
    database = database_class(options.database)
    summary = database.download(
        options.to,
        rates=options.records,
        limit=options.limit,
        workers=options.workers,
        url=options.url,
        retries=options.retries,
        timeout=options.timeout,
    )
    print(
        f"{database.title} in {summary.folder}: {summary.fetched} files fetched "
        f"({summary.received / 1e6:.1f} MB), {summary.kept} were there and verified"
    )
    print(f"license: {database.license}; cite doi:{database.doi}")
    if options.limit and database.name == "ptbxl":
        print("the tables list all recordings: use this part with --partial (Python: on_missing='drop')")

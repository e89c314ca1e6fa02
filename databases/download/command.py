"""Download a public ECG database.

python -m databases.download ptbxl --to data/ptb
"""

from __future__ import annotations

from databases.registry import database_class, list_databases
from utils.errors import UsageError, nearest
from utils.flags import Parser


def _downloadable() -> list[str]:
    return [name for name in list_databases() if database_class(name).source]


def main() -> None:
    """Run the command line."""
    parser = Parser(
        prog="python -m databases.download",
        description="Download a public ECG database. Every file is verified against the database's SHA-256 "
        "sums; run the same command again to continue an interrupted download.",
    )
    parser.add_argument("database", help=f"one of: {', '.join(_downloadable())}")
    parser.add_argument("--to", required=True, help="target folder, for example data/ptb")
    parser.add_argument(
        "--records",
        type=int,
        nargs="+",
        default=[],
        metavar="HZ",
        help="sampling rates of ptbxl: 100 500 (default: 100)",
    )
    parser.add_argument("--limit", type=int, help="only the first LIMIT records of each rate")
    parser.add_argument("--workers", type=int, default=8, help="files at the same time (default: 8)")
    parser.add_argument("--url", help="another address of the same files, for example a mirror")
    parser.add_argument("--retries", type=int, default=5, help="further attempts for each file (default: 5)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        help="seconds without a byte that count as a stall (default: 30)",
    )
    a = parser.parse_args()
    database = database_class(a.database)
    if database.source is None:
        raise UsageError(f"{a.database} cannot be downloaded: {nearest(a.database, _downloadable())}")
    summary = database.download(
        a.to,
        rates=a.records,
        limit=a.limit,
        workers=a.workers,
        url=a.url,
        retries=a.retries,
        timeout=a.timeout,
    )
    print(
        f"{database.title} in {summary.folder}: {summary.fetched} files fetched "
        f"({summary.received / 1e6:.1f} MB), {summary.kept} were there and verified"
    )
    print(f"license: {database.license}; cite doi:{database.doi}")
    if a.limit and a.database == "ptbxl":
        print("the tables list all recordings: use this part with --partial (Python: on_missing='drop')")

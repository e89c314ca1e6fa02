"""Collect what finished runs left and generate the tables of results.

python -m benchmarks.results collect --run imle_net   # after test.py has scored the run
python -m benchmarks.results table                    # write the tables; README.md gets its block
python -m benchmarks.results table --check            # exit code 1 where a written table is not up to date
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks.rows import PUBLISHED, RESULTS, Row, collect, limits, read_rows, recipe
from training.checkpoint import ROOT
from utils.errors import UsageError, run_cli
from utils.files import write_text
from utils.flags import Parser


def to_csv(rows: Sequence[Row]) -> str:
    """Every number of the tables for programs."""
    lines = []
    for row in rows:
        card, metrics, counts = row.card, row.test["metrics"], row.card["data"]["records"]
        auc = row.test["bootstrap"]["intervals"]["macro_roc_auc"]
        published = (
            PUBLISHED[card["model"]["name"]] if card["task"] == "superdiagnostic" else (None, None, None)
        )
        lines.append(
            {
                "row": row.name,
                "model": card["model"]["name"],
                "task": card["task"],
                "recipe": recipe(card),
                "parameters": row.parameters,
                "train_records": counts["train"],
                "val_records": counts["val"],
                "test_records": row.test["records"],
                "limit": limits(row),
                "epochs": row.epochs,
                "best_epoch": card["metrics"]["epoch"],
                "val_macro_roc_auc": card["metrics"]["val_macro_roc_auc"],
                "test_macro_roc_auc": metrics["macro_roc_auc"],
                "test_macro_roc_auc_low": auc["low"],
                "test_macro_roc_auc_high": auc["high"],
                "published_macro_roc_auc": published[0],
                "mean_accuracy_percent": 100 * metrics["mean_accuracy"],
                "published_mean_accuracy_percent": published[1],
                "max_f1_reference": metrics["max_f1_reference"],
                "published_max_f1": published[2],
                "macro_f1_at_thresholds": metrics["macro_f1_at_thresholds"],
                "top1_accuracy": metrics["top1_accuracy"],
                "ece": metrics["ece"],
                "ece_calibrated": row.test.get("ece_calibrated"),
                "seed": card["seed"],
                "git_commit": card.get("git_commit"),
            }
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def generate(rows: Sequence[Row], readme: Path, results: Path) -> dict[Path, str | None]:
    """Make the text of every generated file."""
    block = tables.block(rows)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    return {
        results / "README.md": tables.page(rows),
        results / "table.csv": to_csv(rows),
        readme: tables.insert(text, block),
    }


def write_tables(readme: Path, results: Path, check: bool) -> int:
    """Write the generated files, or compare them with what is there."""
    rows = read_rows(results)
    if not rows:
        raise UsageError(
            f"no row in {results}: collect one with python -m benchmarks.results collect --run RUN"
        )
    outdated = 0
    for path, text in generate(rows, readme, results).items():
        if text is None:
            print(f"{path} is absent or has no lines {tables.BEGIN} and {tables.END}: no block for it")
            outdated += check
        elif not check:
            write_text(path, text)
            print(f"wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not up to date: python -m benchmarks.results table")
            outdated += 1
    if check and not outdated:
        print(f"{len(rows)} rows: every table is up to date")
    return int(outdated > 0)


def main() -> int:
    """Read the flags, collect or write."""
    parser = Parser(prog="python -m benchmarks.results", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    gather = commands.add_parser("collect", help="copy a tested run into benchmarks/results/ROW")
    gather.add_argument("--run", required=True, help="name of the run")
    gather.add_argument("--row", help="name of the row (default: the run)")
    gather.add_argument(
        "--output_dir", type=Path, default=Path("."), help="folder with checkpoints/ and logs/ (default: .)"
    )
    make = commands.add_parser("table", help="write the tables from the collected rows")
    make.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if a table is outdated"
    )
    make.add_argument(
        "--readme", type=Path, default=ROOT / "README.md", help="file with the block (default: README.md)"
    )
    for command in (gather, make):
        command.add_argument(
            "--results", type=Path, default=RESULTS, help="folder of the rows (default: benchmarks/results)"
        )
    options = parser.parse_args()
    if options.command == "table":
        return write_tables(options.readme, options.results, options.check)
    folder = collect(options.run, options.row, options.output_dir, options.results)
    print(f"wrote {folder}; python -m benchmarks.results table puts it into the tables")
    return 0


if __name__ == "__main__":
    run_cli(main)

"""Compare runs: differences on the same patients, over seeds and folds, and what could have been found.

    twelvelead compare resnet1d_wang mousavi                    # runs, or rows of benchmarks/data
    twelvelead compare a_seed1 a_seed2 b_seed1 b_seed2          # two recipes over their seeds
    twelvelead compare --grid results/grids/small_models        # recipes of a grid, by validation scores

Runs whose settings differ in seed and fold alone are one recipe. Recipes are compared by a bootstrap over
patients (the uncertainty of the records) and, with several runs each, by the corrected resampled t-test
(that of training); p-values are corrected for the number of pairs (Holm). Written to results/compare/NAME.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.experiments.compare import compare_grid, compare_predictions
from training.experiments.compare_tables import markdown_page, write_comparison
from training.predictions import Predictions, scored_predictions, validation_predictions
from training.score_options import ScoreOptions
from utils.config import Options, option, option_like, parse
from utils.errors import UsageError
from utils.files import slug
from utils.provenance import command, git_commit


@dataclass
class CompareOptions(Options):
    """Which runs are compared, on which records, and where that is written."""

    runs: list[str] = option(
        [], "runs, rows of benchmarks/data, or folders or files with predictions", scope="run",
        positional=True,
    )  # fmt: skip
    grid: str = option("", "instead: folder of a grid, results/grids/NAME", scope="run")
    task: str = option("", "of a grid with several tasks, the one to compare")
    split: str = option(
        "test",
        "test: as scored before; validation: predicted now, with the database",
        choices=("test", "validation"),
    )
    intersection: bool = option(False, "True: compare on the records that all runs have in common")
    resamples: int = option(1000, "bootstrap resamples", min=2)
    seed: int = option(0, "seed of the bootstrap", min=0)
    data_dir: str = option_like(ScoreOptions, "data_dir", "")
    batchsize: int = option_like(ScoreOptions, "batchsize", 32)
    threads: int = option_like(ScoreOptions, "threads", 0)
    name: str = option("", "name of the comparison (default: from the runs)", scope="run")
    out: str = option("", "folder to write to (default: results/compare/NAME)", scope="machine")
    output_dir: str = option_like(ScoreOptions, "output_dir", ".")


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, compare, print the tables and write them."""
    options = parse(CompareOptions, sys.argv[1:] if args is None else args, description=__doc__)
    if bool(options.grid) == bool(options.runs) or len(options.runs) == 1:
        raise UsageError("compare needs either two or more runs, or --grid results/grids/NAME")
    if options.grid:
        result = compare_grid(Path(options.grid), options.task)
    else:
        runs = [_predictions(run, options) for run in options.runs]
        result = compare_predictions(runs, options.intersection, options.resamples, options.seed)
    result |= {"name": options.name or result["name"]}
    result |= {"settings": options.to_json(), "command": command(), "git_commit": git_commit()}
    folder = Path(options.out or Path(options.output_dir) / "results" / "compare" / slug(result["name"]))
    written = write_comparison(result, folder)
    print(markdown_page(result))
    print("wrote " + ", ".join(map(str, written)))


def _predictions(run: str, options: CompareOptions) -> Predictions:
    if options.split == "test":
        return scored_predictions(run, options.output_dir)
    return validation_predictions(
        run, options.output_dir, options.data_dir, options.batchsize, options.threads
    )

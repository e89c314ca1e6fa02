"""Train every run of a grid: settings with several values, seeds and folds of a YAML file.

    twelvelead grid configs/grids/small_models.yaml --plan       # what would run, and what it costs
    twelvelead grid configs/grids/small_models.yaml              # the same command resumes after a stop

Each run is an ordinary training run with the validation records as judge. Results are in
results/grids/NAME: table.md, runs.csv, groups.csv and grid.json; checkpoints and logs lie beside them.
Several processes, also on several machines with a shared folder, may work on one grid: start the command in
each of them, or give --workers.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tqdm import tqdm

from training.experiments.grid_cost import costs
from training.experiments.grid_file import Grid, read_grid
from training.experiments.grid_runs import (
    FINAL,
    check_same_grid,
    folder_of,
    forget_damaged,
    forget_failures,
    is_final,
    statuses,
    work,
)
from training.experiments.grid_table import write_tables
from training.experiments.launchers import LAUNCHERS, launch_local, launch_ray, launch_slurm
from utils import plugins
from utils.config import Options, flags_of, option, parse
from utils.errors import TwelveLeadError, UsageError, run_cli
from utils.flags import short
from utils.provenance import command
from utils.report.markdown import markdown
from utils.yaml_files import parse_yaml


@dataclass
class GridOptions(Options, group="grid"):
    """Which grid is trained, where, and by how many workers."""

    ignored: ClassVar[dict[str, str]] = {"resume": "a grid always resumes"}

    file: str = option("", "grid file (YAML)", scope="run", positional=True, required=True)
    name: str = option("", "name of the grid (default: that in the file, else the file's)", scope="run")
    set: list[str] = option(
        [], "settings instead of those in the file, such as epochs=1 'lr=[1e-3,1e-2]'",
        scope="run", metavar="KEY=VALUE",
    )  # fmt: skip
    plan: bool = option(False, "True: show the runs and what they cost, and train nothing", scope="run")
    measure: bool = option(True, "False: plan without training a few batches of each model", scope="run")
    retry: bool = option(False, "True: try runs again that failed", scope="run")
    data_dir: str = option("", "folder of the database (default: that in the file)", scope="machine")
    workers: int = option(
        1,
        "processes that share the runs, each on --threads",
        min=1,
        scope="machine",
    )
    launcher: str = option(
        "local", "where the workers run: on this machine, as SLURM jobs, or on a Ray cluster",
        choices=LAUNCHERS, scope="machine",
    )  # fmt: skip
    slurm: dict = option(
        {}, "parameters of submitit for --launcher slurm, such as '{\"slurm_partition\": \"gpu\"}'",
        scope="machine",
    )  # fmt: skip
    threads: int = option(0, "CPU threads of a run (0: as many as may be used)", min=0, scope="machine")
    output_dir: str = option(".", "folder in which results/grids/NAME is", scope="machine")


def load_grid(options: GridOptions) -> Grid:
    """Read the grid file with the settings of the command line."""
    also = dict(_setting(word) for word in _whole(options.set))
    grid = read_grid(options.file, options.name, also)
    machine: dict[str, Any] = {"threads": options.threads} if options.threads else {}
    machine |= {"data_dir": options.data_dir} if options.data_dir else {}
    runs = [dataclasses.replace(run, config=dataclasses.replace(run.config, **machine)) for run in grid.runs]
    return dataclasses.replace(grid, runs=runs)


def _whole(words: Sequence[str]) -> list[str]:
    """Settings with the commas of their lists, at which the parts of a flag are separated."""
    found: list[str] = []
    for word in words:
        if found and sum(map(found[-1].count, "[{")) > sum(map(found[-1].count, "]}")):
            found[-1] += f",{word}"
        else:
            found.append(word)
    return found


def _setting(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {short(word)} must be KEY=VALUE, such as epochs=1")
    return name, parse_yaml(text, f"--set {short(word)}")


def show_plan(grid: Grid, folder: Path, measure: bool) -> None:
    """Print the runs of a grid and what they cost."""
    records = statuses(grid, folder)
    found = costs(grid.runs, records, measure)
    rows = [
        [
            run.name,
            record["status"],
            str(cost.epochs),
            "-" if cost.records is None else f"{cost.records * cost.epochs:,}",
            "-" if cost.minutes is None else f"{cost.minutes:.1f}",
        ]
        for run, record, cost in zip(grid.runs, records, found, strict=True)
    ]
    print(markdown(["Run", "Status", "Epochs", "Records x epochs", "Minutes"], rows))
    left = [
        cost for record, cost in zip(records, found, strict=True) if record["status"] not in ("finished",)
    ]
    total = sum(cost.minutes for cost in left if cost.minutes is not None)
    known = all(cost.minutes is not None for cost in left)
    print(f"{len(grid.runs)} runs, {len(left)} of them left" + (f": at most {total:.0f} minutes" * known))


def run_grid(grid: Grid, options: GridOptions) -> None:
    """Train what is left of a grid and write its tables."""
    folder = folder_of(grid, options.output_dir)
    check_same_grid(grid, folder)
    if options.plan:
        show_plan(grid, folder, options.measure)
        return
    forget_damaged(grid.runs, folder)
    if options.retry:
        forget_failures(grid.runs, folder)
    if options.launcher == "slurm":
        jobs = launch_slurm(
            worker_words(options), options.workers, folder / "workers", grid.name, options.threads,
            options.slurm,
        )  # fmt: skip
        print(f"submitted {', '.join(jobs)}; their output is in {folder / 'workers'}, the table in {folder}")
        print(f"how far they are: {command()} --plan")
        return
    try:
        codes = _train(grid, folder, options)
    except KeyboardInterrupt:
        print(f"stopped; resume with: {command()}")
        raise
    finally:
        files = write_tables(grid, folder, statuses(grid, folder))
    print(files[-1].read_text(encoding="utf-8"))
    print(f"wrote {', '.join(map(str, files))}")
    _check_ends(grid, folder, codes)


def worker_words(options: GridOptions) -> list[str]:
    """Command line of one worker."""
    leave_out = {"file", "workers", "launcher", "slurm", "plan", "measure", "retry"}
    loaded = ["--plugins", ",".join(plugins.loaded())] if plugins.loaded() else []
    words = flags_of(options, GridOptions(), leave_out)
    return [sys.executable, "-m", "training.experiments.grid", options.file, *words, *loaded]


def _train(grid: Grid, folder: Path, options: GridOptions) -> list[int]:
    """Train what is left, here or in workers, whose exit codes it returns."""
    if options.launcher == "local" and options.workers == 1:
        work(grid, folder)
        return []
    with tqdm(total=len(grid.runs), desc=grid.name, unit="run", disable=None) as bar:

        def tick() -> None:
            bar.n = sum(is_final(run, folder) for run in grid.runs)
            bar.refresh()

        words = worker_words(options)
        if options.launcher == "ray":
            return launch_ray(words, options.workers, options.threads, tick)
        return launch_local(words, options.workers, folder / "workers", tick)


def _check_ends(grid: Grid, folder: Path, codes: Sequence[int]) -> None:
    """Refuse to call a grid trained of which runs failed, or that no worker has trained to the end."""
    records = statuses(grid, folder)
    left = [record for record in records if record["status"] not in FINAL]
    if left:
        told = next((record["error"] for record in left if record.get("error")), "")
        kind = UsageError if UsageError.exit_code in codes else TwelveLeadError
        raise kind(
            f"{len(left)} of {len(records)} runs are left, because no worker reached the end"
            + (f"; {left[0]['name']}: {told}" if told else "")
            + f". See {folder / 'workers'}; resume with: {command()}"
        )
    failed = [record for record in records if record["status"] == "failed"]
    if failed:
        raise TwelveLeadError(
            f"{len(failed)} of {len(records)} runs failed, the first, {failed[0]['name']}, with: "
            f"{failed[0]['error']}. --retry True tries them again"
        )


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and train."""
    options = parse(GridOptions, args, description=__doc__)
    grid = load_grid(options)
    for note in grid.notes:
        print(note, file=sys.stderr)
    run_grid(grid, options)


if __name__ == "__main__":
    run_cli(main)

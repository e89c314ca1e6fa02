"""Collect results and generate their pages.

python -m benchmarks collect --run imle_net                        # after test.py has scored the run
python -m benchmarks collect --report results/attribution/mitdb    # after attribution.report
python -m benchmarks collect --certified resnet1d_wang             # after twelvelead certify
python -m benchmarks collect --grid results/grids/small_models     # after twelvelead grid
python -m benchmarks render                                        # write docs/results and README.md's table
python -m benchmarks check                                         # exit code 1 where one is out of date
python -m benchmarks ablate --data_dir data/ptb                    # train, score and collect the ablations
python -m benchmarks quality --data_dir data/ptb                   # measure the checks of signal quality
python -m benchmarks rpeaks --mitdb data/mitdb                     # measure the R-peak detectors
python -m benchmarks backbones                                     # describe the backbones
python -m benchmarks along_time --ludb data/ludb             # measure the shipped models of R-peaks and waves
python -m benchmarks export --data_dir data/ptb                    # export every model, compare and time it
python -m benchmarks explorer                                      # time the explorer in a browser
python -m benchmarks.speed                                         # measure speed and memory
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ablate import AblateOptions, run_ablations
from benchmarks.along_time import AlongTimeOptions, run_along_time
from benchmarks.backbones import BackboneOptions, run_backbones
from benchmarks.collect import collect_certified, collect_grid, collect_report, collect_run
from benchmarks.explorer import ExplorerBenchmarkOptions, run_explorer
from benchmarks.export import ExportBenchmarkOptions, run_export
from benchmarks.quality import QualityOptions, run_quality
from benchmarks.render import DOCS, README, outdated, render
from benchmarks.rows import DATA
from benchmarks.rpeaks import RpeakOptions, run_rpeaks
from utils.config import Options, option, parse
from utils.errors import UsageError, nearest, run_cli


@dataclass
class CollectOptions(Options):
    """What ``collect`` reads and where it writes."""

    run: str = option("", "name of a scored run, or of a scored chain of runs")
    report: str = option("", "instead: folder that attribution.report wrote")
    certified: str = option("", "instead: name of a run with certified thresholds")
    grid: str = option("", "instead: folder of a grid whose runs have finished")
    row: str = option("", "name of the row (default: that of the run)")
    output_dir: Path = option(Path("."), "folder with checkpoints/ and logs/", scope="machine")
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


@dataclass
class RenderOptions(Options):
    """What ``render`` and ``check`` read and write."""

    data: Path = option(DATA, "folder of the collected rows", scope="machine")
    docs: Path = option(DOCS, "folder of the result pages", scope="machine")
    readme: Path = option(README, "file with the short table", scope="machine")


def _collect(options: CollectOptions) -> None:
    """Copy a scored run or a report of the attribution study into benchmarks/data."""
    if sum(map(bool, (options.run, options.report, options.certified, options.grid))) != 1:
        raise UsageError(
            "collect needs one of --run RUN, --report FOLDER (of attribution.report), --certified RUN and "
            "--grid FOLDER"
        )
    if options.grid:
        written = collect_grid(Path(options.grid), options.data / "grids")
    elif options.certified:
        written = collect_certified(
            options.certified, options.row, options.output_dir, options.data / "certified"
        )
    elif options.report:
        written = collect_report(Path(options.report), options.data / "attribution")
    else:
        written = collect_run(options.run, options.row, options.output_dir, options.data)
    for path in written:
        print(f"wrote {path}")
    print("python -m benchmarks render puts it into the pages")


def _render(options: RenderOptions) -> None:
    """Write the result pages and the short table of README.md."""
    render(options.data, options.docs, options.readme)


def _check(options: RenderOptions) -> int:
    """Write nothing; exit code 1 if a generated file is out of date."""
    paths = outdated(options.data, options.docs, options.readme)
    for path in paths:
        print(f"{path} is out of date: python -m benchmarks render")
    if not paths:
        print("every generated file is up to date")
    return int(bool(paths))


def _rpeaks(options: RpeakOptions) -> None:
    """Measure the R-peak detectors on MIT-BIH, CPSC 2019 and LUDB."""
    print(f"wrote {run_rpeaks(options)}")


def _backbones(options: BackboneOptions) -> None:
    """Describe the backbones: parameters, operations, maps."""
    print(f"wrote {run_backbones(options)}")
    print("python -m benchmarks render puts it into the pages")


def _along_time(options: AlongTimeOptions) -> None:
    """Measure the shipped models of R-peaks and waves on MIT-BIH, CPSC 2019 and LUDB."""
    print(f"wrote {run_along_time(options)}")


def _export(options: ExportBenchmarkOptions) -> None:
    """Export every model and measure the files."""
    print(f"wrote {run_export(options)}")
    print("python -m benchmarks render puts it into the pages")


def _explorer(options: ExplorerBenchmarkOptions) -> None:
    """Time the explorer in a headless Chromium."""
    print(f"wrote {run_explorer(options)}")
    print("python -m benchmarks render puts it into the pages")


def _quality(options: QualityOptions) -> None:
    """Measure the checks of signal quality, lead columns and electrodes on PTB-XL."""
    for path in run_quality(options):
        print(f"wrote {path}")
    print("python -m benchmarks render puts it into the pages")


COMMANDS: dict[str, tuple[type[Options], Callable[[Any], int | None]]] = {
    "collect": (CollectOptions, _collect),
    "render": (RenderOptions, _render),
    "check": (RenderOptions, _check),
    "ablate": (AblateOptions, run_ablations),
    "quality": (QualityOptions, _quality),
    "rpeaks": (RpeakOptions, _rpeaks),
    "backbones": (BackboneOptions, _backbones),
    "along_time": (AlongTimeOptions, _along_time),
    "export": (ExportBenchmarkOptions, _export),
    "explorer": (ExplorerBenchmarkOptions, _explorer),
}


def main(args: Sequence[str] | None = None) -> int | None:
    """Run the command that the first word names."""
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else UsageError.exit_code
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{name}': {nearest(name, COMMANDS)}")
    kind, run = COMMANDS[name]
    return run(parse(kind, rest, prog=f"python -m benchmarks {name}", description=run.__doc__))


if __name__ == "__main__":
    run_cli(main)

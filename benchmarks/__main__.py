"""Collect results and generate their pages.

python -m benchmarks collect --run imle_net                        # after test.py has scored the run
python -m benchmarks collect --report results/attribution/mitdb    # after attribution.report
python -m benchmarks render                                        # write docs/results and README.md's table
python -m benchmarks check                                         # exit code 1 where one is out of date
python -m benchmarks ablate --data_dir data/ptb                    # train, score and collect the ablations
python -m benchmarks.speed                                         # measure speed and memory
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ablate import AblateOptions, run_ablations
from benchmarks.collect import collect_report, collect_run
from benchmarks.render import DOCS, README, outdated, render
from benchmarks.rows import DATA
from utils.config import Options, option, parse
from utils.errors import UsageError, nearest, run_cli


@dataclass
class CollectOptions(Options):
    """What ``collect`` reads and where it writes."""

    run: str = option("", "name of a scored run, or of a scored chain of runs")
    report: str = option("", "instead: folder that attribution.report wrote")
    row: str = option("", "name of the row (default: that of the run)")
    output_dir: str = option(".", "folder with checkpoints/ and logs/", scope="machine")
    data: str = option(str(DATA), "folder of the collected rows", scope="machine")


@dataclass
class RenderOptions(Options):
    """What ``render`` and ``check`` read and write."""

    data: str = option(str(DATA), "folder of the collected rows", scope="machine")
    docs: str = option(str(DOCS), "folder of the result pages", scope="machine")
    readme: str = option(str(README), "file with the short table", scope="machine")


def _parse(kind: type[Options], args: Sequence[str], command: str) -> Options:
    return parse(kind, args, prog=f"python -m benchmarks {command}", description=COMMANDS[command].__doc__)


def _collect(args: Sequence[str]) -> None:
    """Copy a scored run or a report of the attribution study into benchmarks/data."""
    options = _parse(CollectOptions, args, "collect")
    assert isinstance(options, CollectOptions)
    data = Path(options.data)
    if bool(options.run) == bool(options.report):
        raise UsageError("collect needs either --run RUN or --report FOLDER (of attribution.report)")
    if options.report:
        written = collect_report(Path(options.report), data / "attribution")
    else:
        written = collect_run(options.run, options.row, Path(options.output_dir), data)
    for path in written:
        print(f"wrote {path}")
    print("python -m benchmarks render puts it into the pages")


def _folders(args: Sequence[str], command: str) -> tuple[Path, Path, Path]:
    options = _parse(RenderOptions, args, command)
    assert isinstance(options, RenderOptions)
    return Path(options.data), Path(options.docs), Path(options.readme)


def _render(args: Sequence[str]) -> None:
    """Write the result pages and the short table of README.md."""
    render(*_folders(args, "render"))


def _check(args: Sequence[str]) -> int:
    """Write nothing; exit code 1 if a generated file is out of date."""
    paths = outdated(*_folders(args, "check"))
    for path in paths:
        print(f"{path} is out of date: python -m benchmarks render")
    if not paths:
        print("every generated file is up to date")
    return int(bool(paths))


def _ablate(args: Sequence[str]) -> None:
    """Train, score and collect the ablations of ProtoECGNet."""
    options = _parse(AblateOptions, args, "ablate")
    assert isinstance(options, AblateOptions)
    run_ablations(options)


COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "collect": _collect,
    "render": _render,
    "check": _check,
    "ablate": _ablate,
}


def main(args: Sequence[str] | None = None) -> int | None:
    """Run the command that the first word names."""
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else UsageError.exit_code
    if words[0] not in COMMANDS:
        raise UsageError(f"unknown command '{words[0]}': {nearest(words[0], COMMANDS)}")
    return COMMANDS[words[0]](words[1:])


if __name__ == "__main__":
    run_cli(main)

"""How fast the explorer is: `explorer.timing` drives it in a browser, in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import DATA
from benchmarks.speed.machine import describe
from training.checkpoint import ROOT
from utils.config import Options, option
from utils.errors import TwelveLeadError
from utils.files import read_json, write_json

GOALS = {  # seconds
    "first paint": 0.2,
    "page": 3.0,
    "record": 3.0,
    "class, computed": 3.0,
    "class, kept": 0.3,
    "layout": 0.3,
}


@dataclass
class ExplorerBenchmarkOptions(Options):
    """How often each step is measured, and where the result goes."""

    rounds: int = option(5, "times of each measurement", min=1)
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


def run_explorer(options: ExplorerBenchmarkOptions) -> Path:
    """Measure all of it and write it to the file of the page."""
    path = options.data / "explorer.json"
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "timing.json"
        words = ["-m", "explorer.timing", "--rounds", str(options.rounds), "--to", str(measured)]
        if subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
            raise TwelveLeadError("the explorer could not be measured: the lines above say why")
        result = read_json(measured)
    steps = {name: _summary(GOALS[name], result["seconds"][name]) for name in GOALS}
    write_json(path, {"machine": describe(), **result, "seconds": steps})
    return path


def _summary(goal: float, seconds: list[float]) -> dict[str, float]:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    rounded = {"median": round(middle, 3), "lowest": round(low, 3), "highest": round(high, 3)}
    return {"goal": goal, **rounded, "rounds": len(seconds)}

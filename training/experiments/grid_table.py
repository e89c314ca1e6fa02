"""Results of a grid as JSON, CSV and Markdown: each run, and means over seeds and folds."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from training.experiments.grid_file import REPEATS, Grid
from training.experiments.grid_runs import VERSION
from training.lock import RunLock
from utils.errors import UsageError
from utils.files import write_json, write_text
from utils.report.markdown import markdown
from utils.tables import write_csv

_NOTICE = "Scores are those of validation records; the test split is not read. Not a medical device."
_OF_FOLDS = (*REPEATS, "folds", "split")


def results(grid: Grid, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Runs and groups of runs that differ in seed and fold alone, ranked by their mean score."""
    return {
        "version": VERSION,
        "name": grid.name,
        "file": grid.path.as_posix(),
        "axes": grid.axes,
        "notice": _NOTICE,
        "runs": list(records),
        "groups": groups(records),
    }


def groups(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means of the runs that differ in seed and fold alone; those without a missing run are ranked."""
    members: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        settings = {k: v for k, v in record["settings"].items() if k not in REPEATS}
        members.setdefault(json.dumps(settings, sort_keys=True), []).append(record)
    found = [_group(runs) for runs in members.values()]
    for task in {group["task"] for group in found}:
        whole = [g for g in found if g["task"] == task and g["finished"] == g["runs"]]
        whole.sort(key=lambda g: -g["mean"] if g["higher_is_better"] else g["mean"])
        for group in whole:
            group["rank"] = 1 + sum(_is_better(other, group) for other in whole)
    return found


def _is_better(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["mean"] > b["mean"] if a["higher_is_better"] else a["mean"] < b["mean"]


def _group(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    done = [run for run in runs if run["status"] == "finished"]
    scores = [run["score"] for run in done]
    first = done[0] if done else runs[0]
    return {
        "changes": {k: v for k, v in runs[0]["changes"].items() if k not in _OF_FOLDS},
        "model": first["model"],
        "framework": first["framework"],
        "task": first["settings"]["task"],
        "rank": None,
        "runs": len(runs),
        "finished": len(done),
        "score_name": first.get("score_name"),
        "higher_is_better": first.get("higher_is_better", True),
        "mean": statistics.fmean(scores) if scores else None,
        "sd": statistics.stdev(scores) if len(scores) > 1 else None,
        "epoch": statistics.fmean(run["epoch"] for run in done) if done else None,
        "seconds": statistics.fmean(run["seconds"] for run in done) if done else None,
        "names": [run["name"] for run in runs],
    }


def write_tables(grid: Grid, folder: Path, records: Sequence[dict[str, Any]]) -> list[Path]:
    """Write ``grid.json``, ``runs.csv``, ``groups.csv`` and ``table.md``."""
    found = results(grid, records)
    files = [folder / name for name in ("grid.json", "runs.csv", "groups.csv", "table.md")]
    with _alone(folder):
        write_json(files[0], found)
        write_csv(files[1], pd.DataFrame([_run_row(record) for record in records], dtype=object))
        write_csv(files[2], pd.DataFrame([_group_row(group) for group in found["groups"]], dtype=object))
        write_text(files[3], markdown_of(found))
    return files


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes tables."""
    lock = RunLock(folder / "tables", folder)
    while True:
        try:
            lock.acquire(f"tables in {folder}")
            break
        except UsageError:
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


def _run_row(record: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "status", "model", "framework", "seed", "fold", "score", "epoch", "epochs", "seconds")
    row = {name: record.get(name) for name in kept}
    row |= {k: _text(v) for k, v in record["changes"].items() if k not in row and k not in _OF_FOLDS}
    return row | record.get("scores", {}) | {"folder": record.get("folder"), "error": record.get("error", "")}


def _group_row(group: dict[str, Any]) -> dict[str, Any]:
    kept = ("rank", "model", "framework", "mean", "sd", "finished", "runs", "epoch", "seconds")
    changes = {k: _text(v) for k, v in group["changes"].items() if k not in kept}
    return {name: group[name] for name in kept} | changes | {"score": group["score_name"]}


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def markdown_of(found: dict[str, Any]) -> str:
    """The table of a grid, from its results alone."""
    ranked = sorted(found["groups"], key=lambda g: (g["rank"] is None, g["rank"] or 0))
    header = ["Rank", "Settings", "Score", "Mean", "SD", "Runs", "Best epoch", "Minutes a run"]
    rows = [
        [
            _number(group["rank"], "d"),
            ", ".join(f"{k} {_text(v)}" for k, v in group["changes"].items()) or group["model"],
            group["score_name"] or "-",
            _number(group["mean"], ".4f"),
            _number(group["sd"], ".4f"),
            f"{group['finished']} of {group['runs']}",
            _number(group["epoch"], ".1f"),
            _number(group["seconds"] and group["seconds"] / 60, ".1f"),
        ]
        for group in ranked
    ]
    return f"# {found['name']}\n\n{markdown(header, rows)}\n\n{found['notice']}\n"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)

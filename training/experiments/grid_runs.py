"""Runs of a grid in one shared folder: who trains which, what is finished, and what a killed worker left."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.checkpoint import check_kept, load_state, read_card
from training.config import TrainConfig
from training.experiments.grid_file import Grid, GridRun
from training.lock import RunLock
from training.tasks import create_task
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json, write_json

logger = logging.getLogger(__name__)

VERSION = 1
FINAL = ("finished", "failed")
_POLL = 2.0  # seconds between two looks at the runs of other workers
_GROWS = ("constant", "step")  # schedules by which more epochs continue a run


def folder_of(grid: Grid, output_dir: str | Path) -> Path:
    """Folder of a grid: tables, records of its runs, their checkpoints and logs."""
    return Path(output_dir) / "results" / "grids" / grid.name


def record_path(folder: Path, run: str) -> Path:
    """File that says how far a run is."""
    return folder / "runs" / f"{run}.json"


def read_record(folder: Path, run: str) -> dict[str, Any]:
    """What is known of a run; a run without a readable record is waiting."""
    path = record_path(folder, run)
    if not path.exists():
        return {"status": "waiting"}
    try:
        record = read_json(path)
    except DataError as error:
        logger.warning(f"{error}; the run is checked again")
        return {"status": "waiting"}
    return record if isinstance(record, dict) and "status" in record else {"status": "waiting"}


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Settings that decide the result of a run."""
    return config.to_json(("result", "stop"))


def check_same_grid(grid: Grid, folder: Path) -> None:
    """Refuse a file whose runs had other settings when they were trained.

    Raises
    ------
    UsageError
        A run of this name was trained with other settings.
    """
    for run in grid.runs:
        _check_same(run, read_record(folder, run.name), folder)


def _check_same(run: GridRun, record: dict[str, Any], folder: Path) -> None:
    before, now = record.get("settings"), settings_of(run.config)
    if before is None:
        return
    names = [name for name in now if name in before and before[name] != now[name]]
    if "epochs" in names and now["epochs"] > before["epochs"] and run.config.schedule in _GROWS:
        names.remove("epochs")
    if names:
        changes = ", ".join(f"{name} was {before[name]!r}, is {now[name]!r}" for name in names)
        raise UsageError(
            f"run '{run.name}' in {folder} was started with other settings: {changes}; "
            "choose another --name, or remove that folder"
        )


def is_final(run: GridRun, folder: Path, record: dict[str, Any] | None = None) -> bool:
    """Whether nothing is left to do for a run."""
    record = read_record(folder, run.name) if record is None else record
    if record["status"] == "failed":
        return True
    return (
        record["status"] == "finished"
        and record["settings"].get("epochs") == settings_of(run.config).get("epochs")
        and (folder / record["folder"] / "card.json").exists()
    )


def _is_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the checkpoint of a finished run is there, undamaged."""
    try:
        read_card(folder / record["folder"])
    except DataError as error:
        logger.warning(f"run {record['name']}: {error}")
        return False
    return True


def claim(run: GridRun, folder: Path) -> RunLock | None:
    """Lock a run for this process; None where another process trains it.

    Raises
    ------
    UsageError
        The file system has no locks, so that workers could not share the folder.
    """
    lock = RunLock(folder / "runs" / run.name, folder)
    try:
        lock.acquire(f"run '{run.name}' of the grid")
    except UsageError:
        return None
    if not lock.held:
        raise UsageError(
            f"{folder} is on a file system without locks, so two processes could train the same run: "
            "choose another --output_dir (Lustre has locks where it is mounted with -o flock)"
        )
    return lock


def is_claimed(run: GridRun, folder: Path) -> bool:
    """Whether a process works on a run now."""
    lock = claim(run, folder)
    if lock is None:
        return True
    lock.release()
    return False


def work(grid: Grid, folder: Path) -> None:
    """Train runs that nobody else trains until all are finished or failed.

    A worker stays until the others' runs are finished, too: should one be killed, its run is taken over.
    """
    while True:
        left = [run for run in grid.runs if not is_final(run, folder)]
        if not left:
            return
        if not any(_take(run, folder) for run in left):
            time.sleep(_POLL)


def _take(run: GridRun, folder: Path) -> bool:
    """Train a run if nobody else does; whether it was this process."""
    lock = claim(run, folder)
    if lock is None:
        return False
    try:
        record = read_record(folder, run.name)
        if is_final(run, folder, record):
            return False
        _check_same(run, record, folder)
        train(run, folder, record)
        return True
    finally:
        lock.release()


def train(run: GridRun, folder: Path, record: dict[str, Any]) -> None:
    """Train a claimed run, from where an interrupted one stopped, and write its record."""
    began, before = time.monotonic(), float(record.get("seconds", 0.0))
    record = _new_record(run, record)
    config = _start(run, folder)
    logger.info(f"--- run {run.name}{': resumed' if config.resume else ''}")

    def write(**changes: Any) -> None:
        record.update(changes, seconds=round(before + time.monotonic() - began, 2))
        write_json(record_path(folder, run.name), record)

    def on_epoch(epoch: int, score: float) -> bool:
        write(epochs=epoch + 1)
        return False

    write(status="running")
    try:
        checkpoint = run.family.train(config, on_epoch)
    except KeyboardInterrupt:
        write(status="interrupted")
        raise
    except (UsageError, DataError, OSError) as error:
        write(status="interrupted", error=str(error))
        raise
    except Exception as error:
        if isinstance(error.__cause__, OSError):  # a full disk would fail the next run, too
            write(status="interrupted", error=str(error))
            raise
        what = str(error) if isinstance(error, TwelveLeadError) else f"{type(error).__name__}: {error}"
        logger.warning(f"run {run.name} failed: {what}", exc_info=not isinstance(error, TwelveLeadError))
        write(status="failed", error=what)
    else:
        write(**_result(checkpoint, folder))
        logger.info(f"run {run.name}: {record['score_name']} {record['score']:.4f}")


def _new_record(run: GridRun, before: dict[str, Any]) -> dict[str, Any]:
    config = run.config
    return {
        "version": VERSION,
        "name": run.name,
        "status": "running",
        "model": config.model,
        "framework": run.family.framework,
        "seed": config.seed,
        "fold": config.fold if config.split == "kfold" else None,
        "changes": run.changes,
        "settings": settings_of(config),
        "worker": {"host": platform.node(), "pid": os.getpid()},
        "epochs": before.get("epochs", 0),
        "seconds": before.get("seconds", 0.0),
    }


def _start(run: GridRun, folder: Path) -> TrainConfig:
    """Configuration that resumes what is whole, or replaces what is not."""
    resume = False
    for state in sorted((folder / "checkpoints" / run.name).rglob("last/state.safetensors")):
        try:
            check_kept(state.parent.parent, load_state(state.parent.parent)[1])
            resume = True
        except DataError as error:
            logger.warning(f"{error}; the run is started again")
    return dataclasses.replace(run.config, output_dir=str(folder), resume=resume, overwrite=not resume)


def _result(checkpoint: Path, folder: Path) -> dict[str, Any]:
    """What the card of a finished run says of it."""
    card = read_card(checkpoint)
    task = create_task(card.kind, card.classes, card.inputs.sampling_rate)
    metrics = {name: value for name, value in card.metrics.items() if name.startswith("val_")}
    return {
        "status": "finished",
        "folder": checkpoint.relative_to(folder).as_posix(),
        "score": metrics[f"val_{task.select_on}"],
        "score_name": task.select_on,
        "higher_is_better": task.higher_is_better,
        "epoch": card.metrics.get("epoch"),
        "scores": metrics,
        "records": card.data.records,
        "fingerprint": card.data.fingerprint,
        "weights_sha256": card.weights_sha256,
    }


def statuses(grid: Grid, folder: Path) -> list[dict[str, Any]]:
    """Records of all runs, in the order of the file; those killed or damaged have the status interrupted."""
    records = []
    for run in grid.runs:
        record = _new_record(run, {}) | read_record(folder, run.name)
        killed = record["status"] == "running" and not is_claimed(run, folder)
        if killed or (record["status"] == "finished" and not _is_whole(folder, record)):
            record["status"] = "interrupted"
        records.append(record)
    return records


def forget_damaged(runs: Sequence[GridRun], folder: Path) -> None:
    """Let finished runs be trained again whose checkpoint is damaged."""
    for run in runs:
        record = read_record(folder, run.name)
        if record["status"] == "finished" and not _is_whole(folder, record):
            record_path(folder, run.name).unlink()


def forget_failures(runs: Sequence[GridRun], folder: Path) -> None:
    """Let runs that failed be tried again."""
    for run in runs:
        if read_record(folder, run.name)["status"] == "failed":
            record_path(folder, run.name).unlink()

"""What a grid costs: records, epochs and minutes, from finished runs or from a few measured batches."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from training.checkpoint import load_state
from training.experiments.grid_file import GridRun
from training.setup import load_training_data
from utils.errors import DataError

_SHAPES_COST = ("model", "model_config", "batchsize", "accumulate", "precision", "crop", "sampling_rate")
_SHAPES_DATA = (
    "database", "data_dir", "also", "task", "sub", "sampling_rate", "seconds", "limit", "split", "folds",
    "keep_unlabeled", "min_likelihood", "target_options", "subsample_frac", "preprocess",
)  # fmt: skip
_BATCHES = 4  # of a measurement


@dataclass(frozen=True)
class Cost:
    """Cost of one run; None where it is not known.

    ``records``: training records; ``minutes``: of the whole run, at most, with early stopping less.
    """

    records: int | None
    epochs: int
    minutes: float | None


def costs(runs: Sequence[GridRun], records: Sequence[dict[str, Any]], measure: bool) -> list[Cost]:
    """Cost of each run.

    ``records``: what is known of the runs; finished ones tell what the others will take.
    ``measure``: train a few batches of each model where no run has finished.
    """
    sizes: dict[str, dict[str, int] | None] = {}
    speeds: dict[str, float | None] = {}  # seconds of an epoch
    for run, record in zip(runs, records, strict=True):
        if record["status"] == "finished":
            sizes.setdefault(_key(run, _SHAPES_DATA), record["records"])
            speeds.setdefault(_key(run, _SHAPES_COST + _SHAPES_DATA), record["seconds"] / record["epochs"])
    found = []
    for run in runs:
        data, key = _key(run, _SHAPES_DATA), _key(run, _SHAPES_COST + _SHAPES_DATA)
        if data not in sizes:
            sizes[data] = _count(run)
        counts = sizes[data]
        if key not in speeds:
            speeds[key] = _measure(run, counts) if counts and measure else None
        seconds, epochs = speeds[key], run.family.epochs(run.config)
        minutes = None if seconds is None else seconds * epochs / 60
        found.append(Cost(counts["train"] if counts else None, epochs, minutes))
    return found


def _key(run: GridRun, names: Sequence[str]) -> str:
    settings = run.config.to_json()
    return json.dumps([settings.get(name) for name in names])


def _count(run: GridRun) -> dict[str, int] | None:
    """Records of each split, None where the database is not there."""
    with _quiet(), contextlib.suppress(DataError):
        return load_training_data(run.config).counts()
    return None


def _measure(run: GridRun, counts: dict[str, int]) -> float | None:
    """Seconds of an epoch, from the second epoch over a few batches: the first one compiles."""
    config, ends = run.config, list[float]()
    limit = min(_BATCHES * config.batchsize, counts["train"])

    def on_epoch(epoch: int, score: float) -> bool:
        ends.append(time.monotonic())
        return False

    with tempfile.TemporaryDirectory() as folder, _quiet():
        small = dataclasses.replace(
            config, limit=limit, epochs=2, patience=2, loggers=[], output_dir=folder, keep="last",
            schedule="constant", warmup_epochs=0.0,
        )  # fmt: skip
        checkpoint = run.family.train(small, on_epoch)
        with contextlib.suppress(DataError):
            rows = load_state(checkpoint)[1]["history"]
            learn, whole = rows[-1]["seconds"], ends[-1] - ends[-2]
            judge = max(0.0, whole - learn) / min(limit, counts["val"])
            return learn / limit * counts["train"] + judge * counts["val"]
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the messages of a training."""
    logger = logging.getLogger("training")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)

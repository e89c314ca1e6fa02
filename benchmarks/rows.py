"""The rows of the result pages: a card, the test's report and the predictions of one scored run."""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import models
from training.card import Card
from training.checkpoint import ROOT
from training.config import TrainConfig
from utils.config import names_of
from utils.errors import DataError
from utils.files import read_json, read_npz

DATA = ROOT / "benchmarks" / "data"
FROM_LOGS = ("test.json", "predictions.npz", "metrics.csv")
_REMEDY = "collect the row again"
# flags that name or place a run without changing its result, and those whose effect the table shows anyway
_NOT_SHOWN = {
    f"--{name}" for name in names_of(TrainConfig, ("run", "machine")) | {"config", "model", "sub", "init"}
}


@dataclass(frozen=True)
class Row:
    """One collected run.

    ``name``: name of its folder.
    ``folder``: the folder, below ``benchmarks/data/ptbxl`` or ``ptbxl_small``.
    ``parameters``: number of weights of the model.
    """

    name: str
    card: Card
    test: dict[str, Any]
    epochs: int
    parameters: int
    folder: Path

    @property
    def model(self) -> str:
        """Registered name of the model."""
        return self.card.name

    @property
    def training_records(self) -> int:
        """Number of training records."""
        return self.card.data.records["train"]

    @property
    def published(self) -> dict[str, float]:
        """Published scores of the model for the row's task; a baseline has none."""
        return {} if self.baseline else models.published(self.model, self.card.task)

    @property
    def source(self) -> str:
        """DOI of the published scores; empty where there are none."""
        return "" if self.baseline else models.source(self.model, self.card.task)

    @property
    def baseline(self) -> str:
        """What is frozen where only the last layer was fitted (`twelvelead baselines`); empty elsewhere."""
        return str(self.card.extra.get("baseline", ""))

    @property
    def limits(self) -> str:
        """What the row left out, empty where it is complete."""
        training, testing = self.card.config.get("limit", 0), self.test.get("limit", 0)
        parts = [f"trained with --limit {training} (records of each split)"] if training else []
        parts += [f"tested with --limit {testing} (records of fold 10)"] if testing else []
        return " and ".join(parts)

    def predictions(self) -> dict[str, Any]:
        """Fold-10 predictions."""
        return read_npz(self.folder / "predictions.npz", _REMEDY)


def read_rows(folder: Path) -> list[Row]:
    """Rows of a folder in the order of the published scores; none where there is no folder."""
    rows = []
    for path in folder.glob("*/row.json"):
        absent = [name for name in ("card.json", *FROM_LOGS) if not (path.parent / name).is_file()]
        if absent:
            raise DataError(f"{path.parent} has no {', '.join(absent)}: {_REMEDY}")
        card, test = (read_json(path.parent / name) for name in ("card.json", "test.json"))
        card = Card.from_json(card, path.parent / "card.json")
        with open(path.parent / "metrics.csv", encoding="utf-8", newline="") as file:
            epochs = sum(1 for _ in csv.DictReader(file))
        rows.append(Row(path.parent.name, card, test, epochs, read_json(path)["parameters"], path.parent))
    return sorted(rows, key=lambda row: (models.order(row.model), row.name))


def recipe(card: Card) -> str:
    """Name of the configuration file of a run, and the flags that changed it."""
    config, changed, flag = "defaults", [], ""
    for word in shlex.split(card.provenance.command):
        if word.startswith("--"):
            flag, _, word = word.partition("=")
            if flag not in _NOT_SHOWN:
                changed.append(flag)
        if word and flag == "--config":
            config = word.rpartition("configs/" if "configs/" in word else "/")[2]
        elif word and flag and flag not in _NOT_SHOWN:
            changed[-1] += f" {word}"
    return ", ".join([config, *changed])

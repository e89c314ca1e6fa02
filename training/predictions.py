"""Predictions of runs: those that scoring wrote, those of committed rows, and new ones for validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.card import Card
from training.checkpoint import ROOT, find_checkpoint, read_card, run_name
from training.evaluate import dataset_of, predict_dataset
from training.predictor import Predictor, load_predictor
from utils.errors import DataError, UsageError
from utils.files import read_json, read_npz

ROWS = ROOT / "benchmarks" / "data"
_FILE = "predictions.npz"
_ARRAYS = ("ecg_id", "patient_id", "label", "probability", "classes")
_REMEDY = "score the run again"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one classifier for the records of a split.

    ``name``: of the run.
    ``ids, patients``: record and patient of each row, (N,).
    ``labels, probabilities``: (N, C).
    ``split``: what the records are, in words.
    ``card``: of the model; None where only its predictions are known.
    """

    name: str
    ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    split: str = ""
    card: Card | None = None

    def take(self, rows: np.ndarray) -> Predictions:
        """Some of the records."""
        parts = {name: getattr(self, name)[rows] for name in ("ids", "patients", "labels", "probabilities")}
        return replace(self, **parts)


def scored_predictions(run: str, output_dir: str = ".") -> Predictions:
    """Predictions of a scored run for its test records; nothing is predicted, and nothing scored again.

    ``run``: a run with ``logs/RUN/predictions.npz``, a row of ``benchmarks/data``, the folder of either, or
    a file of predictions; of rows with the same name, the one on all of PTB-XL is taken.

    Raises
    ------
    UsageError
        No such run, or one that was not scored.
    DataError
        The file is damaged, or belongs to other weights than the run has.
    """
    path = _find(run, Path(output_dir))
    stored = read_predictions(path)
    label, probability = stored["label"], stored["probability"]
    if label.ndim != 2 or label.shape != probability.shape or label.shape[1] != len(stored["classes"]):
        raise DataError(
            f"{path} has labels {label.shape} and predictions {probability.shape}: only classifiers of "
            "records can be compared and certified"
        )
    report = read_json(path.with_name("test.json")) if path.with_name("test.json").exists() else {}
    return Predictions(
        _name(path, Path(output_dir)),
        stored["ecg_id"],
        stored["patient_id"],
        label,
        probability.astype(np.float64),
        tuple(map(str, stored["classes"])),
        report.get("split", ""),
        _card_of(path, report, Path(output_dir)),
    )


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a file that scoring wrote; DataError where it is damaged or lacks one of them."""
    stored = read_npz(path, _REMEDY)
    absent = [name for name in _ARRAYS if name not in stored]
    if absent:
        raise DataError(f"{path} has no {', '.join(absent)}: it is not a file of predictions; {_REMEDY}")
    return stored


def _find(run: str, output_dir: Path) -> Path:
    """File of predictions that a word means."""
    logs = output_dir / "logs"
    for path in (Path(run), Path(run) / _FILE, logs / run / _FILE, logs / run / "fusion" / _FILE):
        if path.is_file():
            return path
    if Path(run).name == run:
        rows = [*ROWS.glob(f"*/{run}/{_FILE}"), *ROWS.glob(f"*/{run}_{_FILE}")]
        if rows:
            return min(rows)  # of rows with the same name, the one on all of PTB-XL (ptbxl, ptbxl_small)
    folder = find_checkpoint(run, output_dir)
    path = logs / run_name(folder) / _FILE
    if not path.is_file():
        raise UsageError(f"{folder} was not scored: twelvelead test --model {run} writes {path}")
    return path


def _name(path: Path, output_dir: Path) -> str:
    """Name of the run that a file of predictions belongs to."""
    if path.name != _FILE:
        return path.stem.removesuffix("_predictions")
    folder, logs = path.parent, output_dir / "logs"
    return folder.relative_to(logs).as_posix() if folder.is_relative_to(logs) else folder.resolve().name


def _card_of(path: Path, report: dict[str, Any], output_dir: Path) -> Card | None:
    """Card of the model that made a file of predictions: beside it, or in the run's checkpoint."""
    beside = path.with_name("card.json")
    if beside.exists():
        return Card.from_json(read_json(beside), beside)
    if not report:
        return None
    run = report.get("run", _name(path, output_dir))
    try:
        card = read_card(find_checkpoint(run, output_dir))
    except UsageError:  # its checkpoint was removed
        return None
    if card.weights_sha256 != report["checkpoint"]["weights_sha256"]:
        raise DataError(f"{path} was made with other weights than run '{run}' has: {_REMEDY}")
    return card


def validation_predictions(
    run: str, output_dir: str = ".", data_dir: str = "", batch_size: int = 32, threads: int = 0
) -> Predictions:
    """Predict the validation records of a run: those that its thresholds were chosen on.

    ``data_dir``: folder of the database; by default that of the training.
    """
    predictor = load_predictor(run, output_dir, threads)
    return predict_split(predictor, run_name(predictor.folder), "", data_dir, batch_size)


def predict_split(
    predictor: Predictor, name: str, split: str = "", data_dir: str = "", batch_size: int = 32
) -> Predictions:
    """Predict the records of a split; by default of that on which choices are made."""
    check_classifier(predictor.card, name)
    dataset = dataset_of(predictor.card, data_dir)
    part = dataset.split(split or dataset.selection)
    return Predictions(
        name,
        part.ids,
        part.patients,
        part.targets,
        predict_dataset(predictor, part, batch_size).astype(np.float64),
        tuple(part.classes),
        dataset.split_names[split or dataset.selection],
        predictor.card,
    )


def check_classifier(card: Card, name: str) -> None:
    """Refuse models that do not classify records."""
    if card.kind not in ("multilabel", "multiclass"):
        raise UsageError(
            f"'{name}' has task {card.task} ({card.kind}): only classifiers of records can be compared and "
            "certified"
        )

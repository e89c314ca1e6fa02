"""Predictions that a report is about: those that scoring a run has stored, or those made for a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing import Dataset
from training.card import Card
from training.evaluate import predict_dataset
from training.predictions import ROWS, read_predictions
from training.predictor import Predictor
from utils.errors import DataError, UsageError
from utils.files import read_json

KINDS = ("multilabel", "multiclass")  # tasks that a report can be written for

_REMEDY = "score the run again"


@dataclass(frozen=True, eq=False)
class Scored:
    """Records of a split with their labels and the probabilities that a model gives them.

    Parameters
    ----------
    run : str
        Name of the run.
    card : Card
        Its card.
    split : str
        ``train``, ``val`` or ``test``.
    split_name : str
        That split in words, such as ``fold 10``.
    ids, patients : ndarray, shape (N,)
        Record and patient of each row.
    labels : ndarray, shape (N, C)
        0 or 1.
    probabilities : ndarray, shape (N, C)
        Not calibrated, in the order of the card's classes.
    source : str
        Where the probabilities come from, a sentence without folders.
    notes : list of str
        What a reader has to know of these records.
    folds : ndarray of int, shape (N,), optional
        Fold of each record, where the database numbers them.

    Raises
    ------
    DataError
        The shapes do not fit together.
    UsageError
        The task of the model is not one of classification.
    """

    run: str
    card: Card
    split: str
    split_name: str
    ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    source: str = ""
    notes: list[str] = field(default_factory=list)
    folds: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_kind(self.run, self.card)
        shape = (len(self.ids), len(self.card.classes))
        if self.labels.shape != shape or self.probabilities.shape != shape or not shape[0]:
            raise DataError(
                f"run '{self.run}': labels {self.labels.shape} and probabilities {self.probabilities.shape} "
                f"do not fit {shape[0]} records of {shape[1]} classes"
            )

    @property
    def targets(self) -> np.ndarray:
        """Labels, as a dataset calls them."""
        return self.labels


def check_kind(run: str, card: Card) -> None:
    """Refuse tasks that a report cannot be written for."""
    if card.kind not in KINDS:
        raise UsageError(
            f"run '{run}' has a task of kind '{card.kind}': reports are written for {' and '.join(KINDS)} "
            "classification"
        )


def stored(run: str, card: Card, output_dir: str | Path = ".") -> Scored | None:
    """Test predictions that scoring these very weights has stored; None where there are none.

    Parameters
    ----------
    run : str
        Name of the run.
    card : Card
        Its card; its SHA-256 of the weights decides whether predictions belong to them.
    output_dir : path-like
        Folder with ``logs/``.

    Returns
    -------
    Scored or None
        From ``logs/RUN``, or from the collected rows of the shipped weights.

    Raises
    ------
    DataError
        The files are damaged or incomplete.
    """
    for folder in _folders(run, output_dir):
        test = read_json(folder / "test.json", _REMEDY)
        digest = test.get("checkpoint", {}).get("weights_sha256") if isinstance(test, dict) else None
        if digest == card.weights_sha256:
            return _read(run, card, folder, test)
    return None


def log_folder(run: str, card: Card, output_dir: str | Path = ".") -> Path:
    """Folder with the metrics of the training: ``logs/RUN``, else that of the collected row."""
    own = Path(output_dir) / "logs" / run
    if own.is_dir():
        return own
    collected = [folder for folder in _folders(run, output_dir) if _same_weights(folder, card)]
    return collected[0] if collected else own


def _same_weights(folder: Path, card: Card) -> bool:
    test = read_json(folder / "test.json", _REMEDY)
    return isinstance(test, dict) and test.get("checkpoint", {}).get("weights_sha256") == card.weights_sha256


def _folders(run: str, output_dir: str | Path) -> Iterator[Path]:
    """Folders that may hold the scoring of a run."""
    own = Path(output_dir) / "logs" / run
    yield from (folder for folder in [own, *sorted(ROWS.glob(f"*/{run}"))] if _holds_scoring(folder))


def _holds_scoring(folder: Path) -> bool:
    return (folder / "test.json").is_file()


def _read(run: str, card: Card, folder: Path, test: dict[str, Any]) -> Scored:
    path = folder / "predictions.npz"
    if not path.is_file():
        raise DataError(f"{folder} has test.json, but not predictions.npz: {_REMEDY}")
    arrays = read_predictions(path)
    classes = [str(name) for name in arrays["classes"]]
    if classes != card.classes:
        raise DataError(f"{path} has the classes {classes}, the card {card.classes}: {_REMEDY}")
    notes = []
    if test.get("limit"):
        notes.append(f"Scored with --limit {test['limit']}: a part of the test records.")
    if not test.get("trained_on_this_data", True):
        notes.append("The model was not trained on this copy of the data.")
    return Scored(
        run,
        card,
        "test",
        str(test.get("split", "test")),
        arrays["ecg_id"],
        arrays["patient_id"],
        arrays["label"],
        arrays["probability"],
        f"Stored when the run was scored; this report did not score again ({_times(test)} so far).",
        notes,
    )


def _times(test: dict[str, Any]) -> str:
    times = test.get("times_scored", 1)
    return f"{times} scoring{'s' * (times != 1)}"


def notes_on(card: Card, dataset: Dataset, split: str) -> list[str]:
    """What scores of a model on a split of these data are worth."""
    words = {
        "train": "The model was trained on these records: every score here flatters it.",
        "val": "Checkpoint, thresholds and calibration were chosen on these records: scores flatter the "
        "model a little.",
    }
    notes = [words[split]] if split in words else []
    if card.data.fingerprint != dataset.fingerprint:
        notes.append("The model was not trained on this copy of the data.")
    return notes


def predicted(predictor: Predictor, dataset: Dataset, split: str, run: str, batch_size: int = 32) -> Scored:
    """Predict the training or the validation records of a dataset.

    Parameters
    ----------
    predictor : Predictor
        The model.
    dataset : Dataset
        All records, loaded as the model was trained on them.
    split : str
        ``val`` or ``train``.
    run : str
        Name of the run.
    batch_size : int
        Records of a forward pass.

    Returns
    -------
    Scored
        With a note that says what scores on these records are worth.

    Raises
    ------
    UsageError
        The dataset has no such split, or it is the test split, which only the test command scores.
    """
    if split == "test":
        raise UsageError("a report never scores test records: score the run first, or use --split val")
    part = dataset.split(split)
    return Scored(
        run,
        predictor.card,
        split,
        dataset.split_names[split],
        part.ids,
        part.patients,
        part.targets,
        predict_dataset(predictor, part, batch_size),
        "Predicted for this report.",
        notes_on(predictor.card, dataset, split),
        part.folds,
    )

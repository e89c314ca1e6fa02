"""Rows of runs on other databases than PTB-XL: small predictions, and the scores of challenges."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import FROM_LOGS
from databases import open_database
from databases.registry import database_class
from preprocessing.options import data_folder
from preprocessing.targets import IGNORED
from training.card import Card
from training.predictions import read_predictions
from training.tasks.boundary_scores import f1_of, intervals_of_f1
from utils.cinc_scores import cinc_score
from utils.files import jsonable, write_npz

SEVERAL = ("multilabel", "tagging", "rpeaks")  # kinds in which several classes may hold at once
# Classes whose mean F1 is the score of a task that has more of them
SCORED = {"beats": ("N", "SVEB", "VEB"), "cinc2017": ("N", "A", "O")}


def database_of(card: Card) -> str:
    """Name of the database that a model was trained on."""
    return str(card.config.get("database", "ptbxl"))


def kept_predictions(card: Card, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Predictions of a file that scoring wrote, those along time one row a step, in half precision.

    Steps that are ignored are left out; of tags, which last, one step a second is kept.
    """
    if card.kind in ("multilabel", "multiclass"):
        return {name: stored[name] for name in ("ecg_id", "patient_id", "label", "probability", "classes")}
    label, probability = stored["label"], stored["probability"]
    if card.kind == "tagging":
        counted, label = label[..., -1] > 0, label[..., :-1].astype(np.uint8)
        second = round(card.inputs.sampling_rate / int((card.outputs.decision or {}).get("reduction", 1)))
        counted &= np.arange(counted.shape[1]) % second == second // 2
    else:
        counted = label.reshape(*label.shape[:2], -1)[..., -1] != IGNORED
    rows, steps = np.nonzero(counted)
    return {
        "ecg_id": stored["ecg_id"][rows],
        "patient_id": stored["patient_id"][rows],
        "label": label[rows, steps],
        "probability": probability[rows, steps].astype(np.float16),
        "classes": stored["classes"],
    }


def _tested(kept: dict[str, np.ndarray]) -> dict[str, int]:
    """How often the test records, or their steps that are kept, have each class."""
    label, classes = kept["label"], kept["classes"]
    counts = (label > 0).sum(axis=0) if label.ndim == 2 else np.bincount(label, minlength=len(classes))
    return {str(name): int(count) for name, count in zip(classes, counts, strict=True)}


def confusion(label: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (row) was answered with each class (column)."""
    return np.bincount(label * classes + answer, minlength=classes**2).reshape(classes, classes)


def further_scores(card: Card, kept: dict[str, np.ndarray], resamples: int, seed: int) -> dict[str, Any]:
    """Confusion matrix of exclusive classes, and the score of the database's challenge."""
    classes, database = [str(name) for name in kept["classes"]], database_of(card)
    if database in ("cinc2020", "cinc2021") and card.kind == "multilabel":
        thresholds = np.array((card.outputs.decision or {}).get("thresholds") or 0.5)
        answer = kept["probability"] >= thresholds
        score = cinc_score(kept["label"], answer, classes, database, kept["patient_id"], resamples, seed)
        return {"challenge": jsonable(score)}
    if card.kind in SEVERAL:
        return {}
    label = kept["label"].argmax(axis=1) if kept["label"].ndim == 2 else kept["label"].astype(np.int64)
    answer = kept["probability"].argmax(axis=1)
    found: dict[str, Any] = {"confusion": confusion(label, answer, len(classes)).tolist()}
    scored = SCORED.get(card.task, SCORED.get(database, ()))
    if set(scored) <= set(classes) and scored:
        found["scored"] = _mean_f1(kept["patient_id"], label, answer, classes, scored, resamples, seed)
    return found


def _mean_f1(
    patients: np.ndarray,
    label: np.ndarray,
    answer: np.ndarray,
    classes: list[str],
    scored: tuple[str, ...],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """F1 of some classes and their mean, with intervals over patients."""
    names, owner = np.unique(patients, return_inverse=True)
    counts = np.zeros((len(names), len(scored), 3), np.int64)
    for column, name in enumerate(scored):
        expected, given = label == classes.index(name), answer == classes.index(name)
        for place, part in enumerate((expected & given, ~expected & given, expected & ~given)):
            counts[:, column, place] = np.bincount(owner, part, len(names))
    values = np.nan_to_num(f1_of(counts.sum(axis=0)))
    rows = intervals_of_f1(counts, names, resamples, seed, [*scored, "mean"])["intervals"]
    by_name = dict(zip([*scored, "mean"], [*values.tolist(), float(values.mean())], strict=True))
    return {name: {"value": value, **(rows[name] or {})} for name, value in by_name.items()}


def collect_task(card: Card, logs: Path, test: dict[str, Any], target: Path) -> dict[str, Any]:
    """Write the predictions of a row; return what else its ``row.json`` says."""
    kept = kept_predictions(card, read_predictions(logs / FROM_LOGS[1]))
    write_npz(target / FROM_LOGS[1], **kept)
    with open(logs / FROM_LOGS[2], encoding="utf-8", newline="") as file:
        seconds = [float(line["seconds"]) for line in csv.DictReader(file)]
    database = database_of(card)
    records = open_database(database, data_folder(card.config)).records
    settings = test.get("settings", {})
    return {
        "database": database,
        "records": len(records),
        "of": database_class(database).size,
        "patients": int(records["patient"].nunique()),
        "epochs": len(seconds),
        "seconds": round(sum(seconds), 1),
        "tested": _tested(kept),
        **further_scores(card, kept, settings.get("resamples", 1000), settings.get("seed", 0)),
    }

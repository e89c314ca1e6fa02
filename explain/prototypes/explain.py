"""Explanations of one recording (`inference.py`) and of a split (`torch_test.py --explain`)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Recording
from explain.prototypes.contributions import Explanation, explain_records
from explain.prototypes.explanation_csv import COLUMNS, RowMaker
from explain.prototypes.report import write_report
from explain.prototypes.source_records import find_source_reader
from preprocessing import Dataset
from training.predictor import Predictor
from utils.errors import UsageError
from utils.files import write_json, write_npz
from utils.tables import write_csv
from utils.text import printable


def explain_recording(
    predictor: Predictor,
    recording: Recording,
    folder: str | os.PathLike,
    prediction: dict[str, Any],
    data_dir: str | os.PathLike | None = None,
    top: int = 5,
) -> list[Path]:
    """Write prediction, report, pictures and arrays of one recording."""
    folder = Path(folder)
    (explanation,) = explain_records(predictor, recording.signal[None], top)
    reader = find_source_reader(predictor, data_dir)
    written = write_report(
        predictor, explanation, recording.signal, folder, printable(recording.name), reader
    )
    arrays, facts = folder / "explanation.npz", folder / "prediction.json"
    write_npz(
        arrays,
        similarities=explanation.similarities,
        windows=explanation.windows,
        probabilities=explanation.probabilities,
        classes=np.array(predictor.classes),
        explained=np.array([part.name for part in explanation.classes]),
        logits=np.array([part.logit for part in explanation.classes]),
        bias=np.array([part.bias for part in explanation.classes]),
        contributions=np.array([part.contributions for part in explanation.classes]),
    )
    write_json(facts, prediction | {"explanation": [_facts(part) for part in explanation.classes]})
    return [facts, *written, arrays]


def _facts(part: Any) -> dict[str, Any]:
    values = dataclasses.asdict(part)
    values["class"] = values.pop("name")
    del values["contributions"]  # all of them are in explanation.npz
    return values


def explain_split(
    predictor: Predictor,
    dataset: Dataset,
    folder: str | os.PathLike,
    count: int = -1,
    pictures: int = 5,
    data_dir: str | os.PathLike | None = None,
    top: int = 5,
    batch_size: int = 32,
) -> list[Path]:
    """Explain the records of a split: one CSV for all, a report with pictures for the first ones.

    The CSV is written first, then one report after the other, so that Ctrl-C loses only the running one.
    """
    for name, value in {"records to explain": count, "reports": pictures}.items():
        if value < -1:
            raise UsageError(f"the number of {name} must be -1 (all) or not negative, got {value}")
    if list(dataset.classes) != predictor.classes:
        raise UsageError(f"{predictor.folder} knows {predictor.classes}, but the data has {dataset.classes}")
    folder = Path(folder)
    total = len(dataset) if count < 0 else min(count, len(dataset))
    reports = total if pictures < 0 else min(pictures, total)
    reader = find_source_reader(predictor, data_dir)
    reported: list[Explanation] = []
    maker, rows = RowMaker(predictor, top), []
    for first in tqdm(range(0, total, batch_size), desc="explain", unit="batch", leave=False, disable=None):
        signals = dataset.signals[first : min(first + batch_size, total)]
        explanations = explain_records(predictor, signals, top, batch_size=batch_size)
        reported += explanations[: max(0, reports - first)]
        for k, explanation in enumerate(explanations, first):
            rows.append(maker.row(int(dataset.ecg_ids[k]), explanation, _labels(dataset, k)))
    written = [write_csv(folder / "explanations.csv", pd.DataFrame(rows, columns=COLUMNS))]
    for k, explanation in enumerate(tqdm(reported, desc="reports", unit="ECG", leave=False, disable=None)):
        ecg_id = str(dataset.ecg_ids[k])
        files = write_report(
            predictor, explanation, dataset.signals[k], folder / ecg_id, ecg_id, reader, _labels(dataset, k)
        )
        written.append(files[0])
    return written


def _labels(dataset: Dataset, row: int) -> list[str]:
    return [name for name, present in zip(dataset.classes, dataset.labels[row], strict=True) if present]

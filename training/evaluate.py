"""Predictions of a trained model for a split, and what its task makes of them: scores, tables, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from preprocessing import Dataset
from preprocessing.options import open_dataset
from training.card import Card
from training.predictor import Predictor
from utils.errors import UsageError
from utils.tables import csv_text


def dataset_of(card: Card, data_dir: str = "", partial: bool | None = None) -> Dataset:
    """Load a database as a model was trained on it; by default that of the training."""
    data_dir = data_dir or card.config.get("data_dir", "")
    if not data_dir:
        raise UsageError("say where the database is: --data_dir FOLDER")
    partial = card.config.get("partial", False) if partial is None else partial
    named = {"data_dir": data_dir, "task": card.task, "sampling_rate": card.inputs.sampling_rate}
    dataset = open_dataset({**card.config, **named, "partial": partial})
    if list(dataset.classes) != card.classes:
        raise UsageError(f"'{card.name}' knows {card.classes}, but {data_dir} has {dataset.classes}")
    return dataset


def predict_dataset(predictor: Predictor, dataset: Dataset, batch_size: int = 32) -> np.ndarray:
    """Predictions for a whole split, read batch by batch, (N, ..., C)."""
    starts = tqdm(range(0, len(dataset), batch_size), desc="predict", unit="batch", leave=False, disable=None)
    return np.concatenate(
        [predictor.predict(dataset.signals[s : s + batch_size], batch_size) for s in starts]
    )


def score(
    predictor: Predictor, dataset: Dataset, predictions: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Metrics of one split, with confidence intervals over patients where the task has any.

    Shapes: predictions (N, ..., C).
    """
    return predictor.task.report(dataset, predictions, predictor.decision, resamples, seed)


def predictions_csv(predictor: Predictor, dataset: Dataset, predictions: np.ndarray) -> str:
    """Predictions for a split as a table for spreadsheets; records alone where they have no single row.

    Shapes: predictions (N, ..., C).
    """
    columns = predictor.task.columns(dataset, predictions, predictor.decision)
    return csv_text(pd.DataFrame({"ecg_id": dataset.ids, **columns}))

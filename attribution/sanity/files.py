"""The score files of the sanity checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.engine.results import ComputeResult
from attribution.scores.summary import COLUMNS
from utils.files import atomic_path

# Mean similarity over the cascade, from the head at random to all weights at random: the early steps count,
# where what speaks for a class is gone already, and the late ones, where nothing is left of the model.
IGNORES_WEIGHTS, KEEPS_ORDER = 0.9, 0.5


class Column(NamedTuple):
    """One number for each window.

    ``metric``: name of the metric.
    ``scores`` (n,): naN where undefined.
    """

    metric: str
    sign: str
    scores: np.ndarray


def tidy(
    result: ComputeResult, method: str, columns: Sequence[Column], places: np.ndarray | None = None
) -> pd.DataFrame:
    """Give scores the columns of all score files."""
    places = np.arange(len(result.rows)) if places is None else places
    rows, targets = result.rows[places], result.targets[places]
    windows = result.windows
    shared = {
        **result.labels(),
        "method": method,
        "truth": "",
        "record": windows.records[rows],
        "patient": windows.patients[rows],
        "window": rows,
        "target": np.array(windows.classes)[targets],
    }
    parts = [pd.DataFrame({**shared, "sign": c.sign, "metric": c.metric, "score": c.scores}) for c in columns]
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def score_file(folder: Path, method: str) -> Path:
    """Path of a method's scores."""
    return folder / "scores" / f"sanity_{method}.csv"


def write_scores(path: Path, scores: pd.DataFrame) -> None:
    """Write a table of scores, atomically."""
    with atomic_path(path) as temporary:
        scores.to_csv(temporary, index=False, na_rep="nan")


def cascade_similarity(scores: pd.DataFrame) -> float:
    """Mean similarity of a method's absolute maps to those of the model with more and more random weights."""
    of_cascade = scores["metric"].str.startswith("randomization_") & ~scores["metric"].str.contains("_only_")
    return float(scores[of_cascade & (scores["sign"] == "absolute")]["score"].fillna(0).mean())


def flag(similarity: float) -> str:
    """Say it where maps hardly follow the weights."""
    if not similarity >= KEEPS_ORDER:
        return ""
    told = "its maps show the signal more than what the model has learned"
    if similarity >= IGNORES_WEIGHTS:
        told = "its maps do not depend on what the model has learned"
    return f"similarity {similarity:.2f} over the cascade of random weights: {told}"

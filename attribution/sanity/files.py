"""Names and readings of the score files of the sanity checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.engine.workspace import Workspace
from attribution.scores.files import score_lines

# Mean similarity over the cascade, from the head at random to all weights at random: the early steps count,
# where the evidence for a class is gone already, and the late ones, where nothing is left of the model.
IGNORES_WEIGHTS, KEEPS_ORDER = 0.9, 0.5


class Column(NamedTuple):
    """One number for each window.

    ``metric``: name of the metric.
    ``scores`` (n,): NaN where undefined.
    """

    metric: str
    sign: str
    scores: np.ndarray


def tidy(
    workspace: Workspace, method: str, columns: Sequence[Column], positions: np.ndarray | None = None
) -> pd.DataFrame:
    """Lines of a score file."""
    positions = np.arange(len(workspace.rows)) if positions is None else positions
    parts = [score_lines(workspace, positions, method, c.sign, c.metric, "", c.scores) for c in columns]
    return pd.concat(parts, ignore_index=True)


def score_file(folder: Path, method: str) -> Path:
    """Path of a method's scores."""
    return folder / "scores" / f"sanity_{method}.csv"


def cascade_similarity(scores: pd.DataFrame) -> float:
    """Mean similarity of a method's absolute maps to those of the model with more and more random weights."""
    of_cascade = scores["metric"].str.startswith("randomization_") & ~scores["metric"].str.contains("_only_")
    return float(scores[of_cascade & (scores["sign"] == "absolute")]["score"].fillna(0).mean())


def flag(similarity: float) -> str:
    """A warning where maps hardly follow the weights, else an empty text."""
    if not similarity >= KEEPS_ORDER:
        return ""
    finding = "its maps show the signal more than what the model has learned"
    if similarity >= IGNORES_WEIGHTS:
        finding = "its maps do not depend on what the model has learned"
    return f"similarity {similarity:.2f} over the cascade of random weights: {finding}"

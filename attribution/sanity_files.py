"""The score files of the sanity checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.results import ComputeResult
from attribution.scores import COLUMNS
from utils.files import atomic_path


class Column(NamedTuple):
    """One number for each window.

    Parameters
    ----------
    metric : str
        Name of the metric.
    sign : str
        ``signed`` or ``absolute``.
    scores : ndarray of float64, shape (n,)
        NaN where undefined.
    """

    metric: str
    sign: str
    scores: np.ndarray


def tidy(
    result: ComputeResult, method: str, columns: Sequence[Column], places: np.ndarray | None = None
) -> pd.DataFrame:
    """Give scores the columns of all score files.

    Parameters
    ----------
    result : ComputeResult
        The maps' folder.
    method : str
        Name of the method.
    columns : sequence of Column
        Scores of the windows at `places`.
    places : ndarray of int, optional
        Places in the folder's selection; None: all.

    Returns
    -------
    pandas.DataFrame
        `attribution.scores.COLUMNS`, one line for each window and column.
    """
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
    """Path of a method's scores.

    Parameters
    ----------
    folder : pathlib.Path
        Of the maps.
    method : str
        The method.

    Returns
    -------
    pathlib.Path
        Whether or not it exists.
    """
    return folder / "scores" / f"sanity_{method}.csv"


def write_scores(path: Path, scores: pd.DataFrame) -> None:
    """Write a table of scores, atomically.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    scores : pandas.DataFrame
        From `tidy`.
    """
    with atomic_path(path) as temporary:
        scores.to_csv(temporary, index=False, na_rep="nan")

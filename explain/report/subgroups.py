"""Scores of subgroups: age, sex, device and signal quality, as the table of records has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from explain.report.numbers import interval
from utils.bootstrap import bootstrap
from utils.errors import DataError
from utils.metrics import macro, roc_auc

LEAST_PATIENTS = 5  # with a class and without it, so that the class counts in a subgroup
_DEVICES = 8  # the most frequent ones
_AGES = ((0, 40, "under 40"), (40, 60, "40 to 59"), (60, 80, "60 to 79"), (80, np.inf, "80 and older"))
_SEXES = {"0": "male", "1": "female", "M": "male", "F": "female"}
_FLAGS = {
    "static_noise": "static noise",
    "burst_noise": "burst noise",
    "baseline_drift": "baseline drift",
    "electrodes_problems": "electrode problems",
    "pacemaker": "pacemaker",
}


def _ages(values: pd.Series) -> np.ndarray:
    years = pd.to_numeric(values, errors="coerce").to_numpy(float)
    groups = [np.where((years >= low) & (years < high), name, "") for low, high, name in _AGES]
    return np.array(["".join(parts) for parts in zip(*groups, strict=True)])


def _sexes(values: pd.Series) -> np.ndarray:
    words = values.fillna("").astype(str).str.strip().str.removesuffix(".0").str.upper().str[:1]
    return words.map(_SEXES).fillna("").to_numpy(str)


def _devices(values: pd.Series) -> np.ndarray:
    names = values.fillna("").astype(str).str.split().str.join(" ")
    return names.where(names.isin(names[names != ""].value_counts().index[:_DEVICES]), "").to_numpy(str)


def _flagged(values: pd.Series) -> np.ndarray:
    noted = values.fillna("").astype(str).str.strip(" ,") != ""
    return np.where(noted, "noted", "not noted")


GROUPINGS: dict[str, tuple[str, Callable[[pd.Series], np.ndarray]]] = {
    "age": ("age", _ages),
    "sex": ("sex", _sexes),
    "device": ("device", _devices),
    **{column: (title, _flagged) for column, title in _FLAGS.items()},
    "fold": ("fold", lambda values: values.astype(str).to_numpy(str)),
}


def subgroup_rows(
    records: pd.DataFrame,
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each subgroup of each grouping that the table of records allows.

    Macro ROC-AUC over the classes that `LEAST_PATIENTS` patients of the subgroup have and lack, with its
    interval over patients, and the ROC-AUC of each class by its column. A record without a value belongs
    to no subgroup.

    Shapes: records (N rows), labels (N, C), probabilities (N, C), patients (N,).
    """
    rows = []
    for column, (title, grouped) in GROUPINGS.items():
        if column not in records:
            continue
        groups = grouped(records[column])
        names = [name for name, *_ in ((a[2],) for a in _AGES)] if column == "age" else sorted(set(groups))
        present = [name for name in names if name and (groups == name).any()]
        if len(present) < 2:
            continue  # nothing to compare
        for name in present:
            inside = groups == name
            scores = _scores(labels[inside], probabilities[inside], patients[inside], resamples, seed)
            rows.append({"grouping": title, "group": name, **scores})
    return rows


def _scores(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    columns = _judged(labels, patients)
    count = len(np.unique(patients))
    auc = roc_auc(labels, probabilities)
    by_class = [float(auc[c]) if c in columns else None for c in range(labels.shape[1])]
    result: dict[str, Any] = {"records": len(labels), "patients": count, "classes": len(columns)}
    value: dict[str, float | None] = interval(macro(auc[columns]), np.nan, np.nan)
    if len(columns):
        part = labels[:, columns], probabilities[:, columns]
        try:
            drawn = bootstrap(*part, patients, ("macro_roc_auc",), resamples, seed)
            value = drawn["intervals"]["macro_roc_auc"]
        except DataError:  # nearly every resample loses a class
            pass
    return {**result, "macro_roc_auc": value, "class_roc_auc": by_class}


def _judged(labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Columns of the classes that enough patients have and enough lack."""
    count = len(np.unique(patients))
    having = np.array([len(np.unique(patients[column > 0])) for column in labels.T], dtype=np.int64)
    return np.flatnonzero((having >= LEAST_PATIENTS) & (count - having >= LEAST_PATIENTS))

"""What target sets need of a database: annotations of many records, and splits that keep patients whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Database
from preprocessing.splits import LEAST_FOLDS, fold_names, kfold
from utils.errors import DataError

FOLDS = 10  # of a database without splits: eight to learn from, one to choose on, one to test on
Result = TypeVar("Result")


def of_records(
    database: Database, ids: Sequence[Any], read: Callable[[Any], Result], what: str
) -> list[Result]:
    """What `read` gives for each record; one error lists all records of which it cannot be read."""
    results, problems = [], []
    for record in tqdm(ids, desc=f"{database.name}: {what}", unit="record", disable=None):
        try:
            results.append(read(record))
        except DataError as error:
            problems.append(f"  {record}: {error}")
    if problems:
        first = "\n".join(problems[:10]) + (f"\n  ... and {len(problems) - 10} more" if problems[10:] else "")
        raise DataError(
            f"{what} of {len(problems)} of {len(ids)} records in {database.root} cannot be used:\n{first}"
        )
    return results


def split_patients(patients: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Splits of a database that has none: of ten folds of patients, stratified by label, one tests.

    Always the same ones for the same patients and labels; fewer folds where there are fewer patients.

    Shapes: patients (N,), labels (N, C) above zero where a record has the label -> (N,).
    """
    folds = max(LEAST_FOLDS, min(FOLDS, len(np.unique(patients))))
    return kfold(patients, labels, folds, 1), fold_names(folds, 1)


def episode_splits(records: pd.DataFrame) -> dict[str, Any]:
    """Splits of CPSC 2021, by patient and kind of record (N, AFf, AFp); none for databases that have some."""
    if "label" not in records:
        return {}
    labels = (records["label"].to_numpy()[:, None] == np.array(["N", "AFf", "AFp"])).astype(np.uint8)
    splits, names = split_patients(records["patient"].to_numpy(), labels)
    return {"splits": splits, "split_names": names}

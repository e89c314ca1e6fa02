"""What target sets need of a database: annotations of many records, and splits that keep patients whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Annotations, Database
from preprocessing.splits import LEAST_FOLDS, assign_folds, fold_names
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


def read_beats(database: Database, record: Any) -> Annotations:
    """Annotations of a record of a database that marks every beat; without any the record is refused."""
    found = database.annotations(record)
    if not len(found.beats.samples) and database.samples(record) > 1:
        raise DataError(
            "no beat is annotated: its annotation file is missing or empty; download it again, or leave the "
            "record out"
        )
    return found


def split_patients(patients: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Splits of a database that has none: of ten folds of patients, stratified by label, one tests.

    Of all folds that could test, the first one is taken with which most labels are in the training records,
    then in every split, then with the most even shares. Always the same splits for the same patients and
    labels; fewer folds where there are fewer patients.

    Shapes: patients (N,), labels (N, C) above zero where a record has the label -> (N,).
    """
    folds = max(LEAST_FOLDS, min(FOLDS, len(np.unique(patients))))
    assigned = assign_folds(patients, labels, folds)
    counts = np.stack([(labels[assigned == fold] > 0).sum(axis=0) for fold in range(folds)])  # (folds, C)
    total = counts.sum(axis=0)

    def faults(fold: int) -> tuple[int, int, float]:
        held = counts[[fold, (fold + 1) % folds]]
        uneven = np.abs(held * folds / np.maximum(total, 1) - 1).sum()
        untrained = (total > 0) & (total == held.sum(axis=0))
        return int(untrained.sum()), int(((held == 0) & (total > 0)).sum()), float(uneven)

    test = min(range(folds), key=faults)
    names = np.select([assigned == test, assigned == (test + 1) % folds], ["test", "val"], "train")
    return names, fold_names(folds, test + 1)


def episode_splits(records: pd.DataFrame) -> dict[str, Any]:
    """Splits of CPSC 2021, by patient and kind of record (N, AFf, AFp); none for databases that have some."""
    if "label" not in records:
        return {}
    labels = (records["label"].to_numpy()[:, None] == np.array(["N", "AFf", "AFp"])).astype(np.uint8)
    splits, names = split_patients(records["patient"].to_numpy(), labels)
    return {"splits": splits, "split_names": names}

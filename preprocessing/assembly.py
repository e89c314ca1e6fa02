"""From signals and targets to a dataset with splits, and the checks that every dataset has to pass."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from databases import Database
from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.splits import SPLITS, check_patients, official, resplit, strata
from preprocessing.targets import Targets, TargetSet
from preprocessing.targets.regions import sort_annotations, take_annotations
from utils.errors import DataError, UsageError, nearest

CHOICES = {
    "split": ("official", "kfold"),
    "on_duplicates": ("report", "error"),
    "on_missing": ("error", "drop"),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitOptions:
    """How a dataset is split.

    ``split``: ``official``, or ``kfold``: folds of whole patients, stratified by label.
    ``folds``, ``fold``: number of folds, and the one to test on, from 1.
    ``on_duplicates``: ``report`` or refuse (``error``) equal recordings in different splits.
    """

    split: str = "official"
    folds: int = 5
    fold: int = 1
    on_duplicates: str = "report"

    def __post_init__(self) -> None:
        check_choices(split=self.split, on_duplicates=self.on_duplicates)


def check_choices(**options: str) -> None:
    """Refuse a value that an option does not have."""
    for name, value in options.items():
        if value not in CHOICES[name]:
            raise UsageError(f"{name} '{value}': {nearest(value, CHOICES[name])}")


def assemble(
    database: Database,
    target_set: TargetSet,
    targets: Targets,
    signals: ScaledSignals,
    digests: np.ndarray,
    present: np.ndarray,
    options: SplitOptions,
    **fields: Any,
) -> Dataset:
    """Put a dataset together and check it.

    ``signals``, ``digests``: of the records that are `present`, or of windows in the order of the targets.
    ``present`` (records,): rows of the database whose files were read.
    ``fields``: sampling_rate, leads and version of the dataset.
    """
    kept = present[targets.rows]
    rows = targets.rows[kept]
    records = database.records.iloc[rows]
    splits, names = _splits(database, targets, options)
    stored = (np.cumsum(present) - 1)[rows] if targets.starts is None else np.arange(len(rows))
    folds = records["fold"].to_numpy() if "fold" in records else None
    dataset = Dataset(
        signals=signals.take(stored),
        targets=targets.values[kept],
        classes=targets.classes,
        ids=records.index.to_numpy(),
        patients=records["patient"].to_numpy(),
        splits=splits[kept],
        task=target_set.name,
        kind=target_set.kind,
        name=database.name,
        split_names=target_set.split_names or names,
        selection=target_set.selection,
        settings={"reference": True} if target_set.reference else {},
        folds=folds if folds is not None and folds.dtype.kind in "iu" else None,
        digests=digests[stored],
        starts=None if targets.starts is None else targets.starts[kept],
        beats=take_annotations(sort_annotations(targets.beats), np.flatnonzero(kept)),
        **fields,
    )
    if not len(dataset):
        raise DataError(f"no record of task {dataset.task} is in {database.root}")
    if options.split == "kfold":
        dataset = resplit(dataset, options.folds, options.fold)
    if targets.overlapping is not None:  # every sample of validation and test records is judged once
        dataset = dataset.take(~targets.overlapping[kept] | (dataset.splits == "train"))
    _check_splits(dataset)
    check_patients(dataset)
    _check_duplicates(dataset, options.on_duplicates)
    return dataset


def _splits(database: Database, targets: Targets, options: SplitOptions) -> tuple[np.ndarray, dict[str, str]]:
    """Splits of the records of the target set before k-fold, and their names."""
    if options.split == "kfold":
        return np.full(len(targets.rows), "train"), {}
    if targets.splits is not None:
        return targets.splits, dict(targets.split_names)
    splits, names = official(database)
    return splits[targets.rows], dict(names)


def _check_splits(dataset: Dataset) -> None:
    required = dict.fromkeys(("train", dataset.selection, "test"))
    empty = [name for name in required if not (dataset.splits == name).any()]
    if empty:
        listed = ", ".join(f"{name} ({dataset.split_names[name]})" for name in empty)
        counts = ", ".join(f"{name} {(dataset.splits == name).sum()}" for name in SPLITS)
        raise DataError(
            f"no record of task {dataset.task} is in {listed}; records: {counts}. Use a database with "
            "records in every split, or --split kfold"
        )
    learned = strata(dataset)[dataset.splits == "train"].any(axis=0)
    if learned.size and not learned.all():
        names = [name for name, known in zip(dataset.classes, learned, strict=True) if not known]
        logger.info(
            f"task {dataset.task}: no training record has {', '.join(names)}; no model can learn that"
        )


def cross_split_duplicates(dataset: Dataset) -> list[tuple[Any, ...]]:
    """Find recordings that are equal sample by sample and lie in different splits."""
    table = pd.DataFrame({"digest": dataset.digests, "split": dataset.splits, "id": dataset.ids})
    table = table[table["digest"].duplicated(keep=False)]
    groups = [group for _, group in table.groupby("digest") if group["split"].nunique() > 1]
    return sorted(tuple(sorted(set(group["id"].tolist()))) for group in groups)


def _check_duplicates(dataset: Dataset, on_duplicates: str) -> None:
    groups = cross_split_duplicates(dataset)
    if not groups:
        return
    listed = "; ".join(" = ".join(map(str, group)) for group in groups[:10])
    listed += "; ..." if len(groups) > 10 else ""
    remedy = (
        "PTB-XL 1.0.3 removed its duplicates, use that release" if dataset.name == "ptbxl" else "drop them"
    )
    message = f"{len(groups)} recordings occur identically in more than one split ({listed}): {remedy}"
    if on_duplicates == "error":
        raise DataError(message)
    logger.warning(f"warning: {message}")

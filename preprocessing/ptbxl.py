"""PTB-XL from its folder to a dataset ready for training."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from databases.ptbxl import MI_REFERENCE_SPLITS, SPLIT_NAMES, read_database, read_statements, release_of
from databases.ptbxl_signals import file_states
from preprocessing.cache import open_signals
from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.splits import SPLITS, check_patients
from preprocessing.targets.ptbxl import build_labels, canonical_task, multilabel
from utils.errors import DataError, UsageError


def _drop_missing(database: pd.DataFrame, data_dir: str | os.PathLike) -> pd.DataFrame:
    states = file_states(data_dir, list(database["filename"]))
    there = (states[:, 0] >= 0) & (states[:, 2] >= 0)
    if not there.any():
        raise DataError(f"none of the {len(database)} recordings listed is in {data_dir}: download them")
    if not there.all():
        print(f"{(~there).sum()} of {len(database)} records listed are not in {data_dir} and are left out")
    return database[there]


def cross_split_duplicates(dataset: Dataset) -> list[tuple[int, ...]]:
    """Find recordings that are equal sample by sample and lie in different splits."""
    table = pd.DataFrame({"digest": dataset.digests, "split": dataset.splits, "ecg_id": dataset.ids})
    table = table[table["digest"].duplicated(keep=False)]
    groups = [group for _, group in table.groupby("digest") if group["split"].nunique() > 1]
    return sorted(tuple(sorted(set(group["ecg_id"].tolist()))) for group in groups)


def _check_duplicates(dataset: Dataset, on_duplicates: str) -> None:
    groups = cross_split_duplicates(dataset)
    if not groups:
        return
    listed = "; ".join(" = ".join(map(str, group)) for group in groups[:10])
    listed += "; ..." if len(groups) > 10 else ""
    message = f"{len(groups)} recordings occur identically in more than one split (ecg_id {listed})"
    if on_duplicates == "error":
        raise DataError(f"{message}: PTB-XL 1.0.3 removed its duplicates, use that release")
    print(f"warning: {message}; PTB-XL 1.0.3 removed its duplicates, use that release")


def _check_splits(dataset: Dataset) -> None:
    wanted = ("train", "test") if dataset.task == "mi_reference" else SPLITS
    empty = [name for name in wanted if not (dataset.splits == name).any()]
    if empty:
        listed = ", ".join(f"{name} ({dataset.split_names[name]})" for name in empty)
        folds = np.unique(np.asarray(dataset.folds)).tolist()
        raise DataError(
            f"no record of task {dataset.task} is in {listed}: all {len(dataset)} labelled records are in "
            f"folds {folds}. Use a database with records in every fold"
        )
    absent = ~dataset.targets[dataset.splits == "train"].any(axis=0)
    if absent.any():
        names = [name for name, missing in zip(dataset.classes, absent, strict=True) if missing]
        print(f"task {dataset.task}: no training record has {', '.join(names)}; no model can learn that")


def load_ptbxl(
    data_dir: str | os.PathLike,
    task: str = "superdiagnostic",
    sampling_rate: int = 100,
    min_likelihood: float = 0,
    cache_dir: str | os.PathLike | None = None,
    on_duplicates: str = "report",
    on_missing: str = "error",
) -> Dataset:
    """Load PTB-XL, or any database in its layout.

    The recordings are read and verified once and then come from a cache. No patient may cross
    splits, and every split must hold records; recordings that occur in two splits are reported.

    Parameters
    ----------
    data_dir : path-like
        Folder with ``ptbxl_database.csv``, ``scp_statements.csv`` and the recordings (releases 1.0.1 to
        1.0.3).
    task : str
        Label set, see `preprocessing.targets.ptbxl.build_labels`.
    sampling_rate : int
        100 or 500 Hz.
    min_likelihood : float
        A diagnostic code counts from this likelihood on (0 to 100); 0 counts every listed code.
    cache_dir : path-like, optional
        Where the cache goes; default ``$TWELVELEAD_CACHE``, else ``<data_dir>/.twelvelead_cache``, else (a
        read-only database) the user's cache folder.
    on_duplicates : {"report", "error"}
        What to do about equal recordings in different splits.
    on_missing : {"error", "drop"}
        What to do about listed records whose files are absent (a partial download).

    Returns
    -------
    Dataset
        The records of the task, in the order of the database, in mV.

    Raises
    ------
    DataError
        Something in the folder is missing, damaged or contradictory; the message lists the records.
    UsageError
        Unknown task, sampling rate or option.

    References
    ----------
    Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7, 154
    (2020), doi:10.1038/s41597-020-0495-6.
    """
    task = canonical_task(task)
    if on_duplicates not in ("report", "error"):
        raise UsageError(f"on_duplicates is 'report' or 'error', not '{on_duplicates}'")
    if on_missing not in ("error", "drop"):
        raise UsageError(f"on_missing is 'error' or 'drop', not '{on_missing}'")
    database = read_database(data_dir, sampling_rate)
    version = release_of(data_dir, len(database))
    if on_missing == "drop":
        database = _drop_missing(database, data_dir)
    # labels first: a wrong option should fail before a minute of reading
    table = build_labels(database, read_statements(data_dir), task, min_likelihood)
    cached = open_signals(
        data_dir, database.index.to_numpy(), list(database["filename"]), sampling_rate, cache_dir
    )
    chosen = database.iloc[table.rows]
    dataset = Dataset(
        signals=ScaledSignals(cached.samples, table.rows),
        targets=table.labels,
        classes=table.classes,
        ids=chosen.index.to_numpy(),
        patients=chosen["patient_id"].to_numpy(),
        splits=table.splits,
        sampling_rate=sampling_rate,
        task=task,
        kind="multilabel" if multilabel(task) else "multiclass",
        name="ptbxl",
        split_names=MI_REFERENCE_SPLITS if task == "mi_reference" else SPLIT_NAMES,
        selection="test" if task == "mi_reference" else "val",
        settings={"reference": True} if task == "mi_reference" else {},
        folds=chosen["strat_fold"].to_numpy(),
        digests=np.asarray(cached.digests)[table.rows],
        version=version,
    )
    _check_splits(dataset)
    check_patients(dataset)
    _check_duplicates(dataset, on_duplicates)
    return dataset

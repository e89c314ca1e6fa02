"""PTB-XL as a dataset, read by the direct reader of its layout."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os

import numpy as np
import pandas as pd

from databases import open_database
from databases.ptbxl import release_of
from databases.ptbxl_signals import RecordReader, file_states
from preprocessing.assembly import SplitOptions, assemble, check_choices
from preprocessing.cache import FORMAT, CachedSignals, open_cache
from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.targets import TargetOptions, find_targets
from utils.ecg import LEADS
from utils.errors import DataError

SECONDS = 10

logger = logging.getLogger(__name__)


def load_ptbxl(
    data_dir: str | os.PathLike,
    task: str = "superdiagnostic",
    sampling_rate: int = 100,
    min_likelihood: float = 0,
    cache_dir: str | os.PathLike | None = None,
    on_duplicates: str = "report",
    on_missing: str = "error",
    *,
    keep_unlabeled: bool = False,
    split: str = "official",
    folds: int = 5,
    fold: int = 1,
    database: str = "ptbxl",
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
        A diagnostic statement counts from this likelihood on (0 to 100); 0 counts every one.
    cache_dir : path-like, optional
        Where the cache goes; default ``$TWELVELEAD_CACHE``, else ``<data_dir>/.twelvelead_cache``, else (a
        read-only database) the user's cache folder.
    on_duplicates : {"report", "error"}
        What to do about equal recordings in different splits.
    on_missing : {"error", "drop"}
        What to do about listed records whose files are absent (a partial download).
    keep_unlabeled : bool
        Keep records without any class.
    split : {"official", "kfold"}
        Splits of the database by its ``strat_fold``, or k-fold: folds of whole patients, stratified by label.
    folds, fold : int
        Number of folds of k-fold, and the one to test on, from 1.
    database : str
        Name of the database; of a registered one in this layout.

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
    target_set = find_targets(task, database)
    options = SplitOptions(split, folds, fold, on_duplicates)
    check_choices(on_missing=on_missing)
    opened = open_database(database, data_dir, sampling_rate=sampling_rate)
    records = opened.records
    version = release_of(data_dir, len(records))
    present = np.full(len(records), True) if on_missing == "error" else _present(records, data_dir)
    # targets first: a wrong option should fail before a minute of reading
    shape = TargetOptions(sampling_rate, SECONDS * sampling_rate, LEADS, min_likelihood, keep_unlabeled)
    targets = target_set.build(opened, shape)
    kept = records[present]
    cached = open_signals(data_dir, kept.index.tolist(), list(kept["path"]), sampling_rate, cache_dir)
    return assemble(
        opened,
        target_set,
        targets,
        ScaledSignals(cached.samples),
        cached.digests,
        present,
        options,
        sampling_rate=sampling_rate,
        leads=LEADS,
        version=version,
    )


def _present(records: pd.DataFrame, data_dir: str | os.PathLike) -> np.ndarray:
    """Which records have both of their files."""
    states = file_states(data_dir, list(records["path"]))
    present = (states[:, 0] >= 0) & (states[:, 2] >= 0)
    if not present.any():
        raise DataError(f"none of the {len(records)} recordings listed is in {data_dir}: download them")
    if not present.all():
        logger.info(
            f"{(~present).sum()} of {len(records)} records listed are not in {data_dir} and are left out"
        )
    return present


def open_signals(
    data_dir: str | os.PathLike,
    ids: list[int],
    paths: list[str],
    rate: int,
    cache_dir: str | os.PathLike | None = None,
) -> CachedSignals:
    """Open recordings in PTB-XL's layout from the cache, which is written first if it is absent."""
    listed = json.dumps([FORMAT, rate, ids, paths])
    source = hashlib.sha256(listed.encode() + file_states(data_dir, paths).tobytes()).hexdigest()
    reader = functools.partial(RecordReader, data_dir, ids, paths, rate)
    name = f"ptbxl_{rate}hz"
    return open_cache(data_dir, name, source, len(ids), reader, cache_dir, sampling_rate=rate, ecg_ids=ids)

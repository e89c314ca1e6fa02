"""Any registered database as a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from databases import Database, open_database
from preprocessing.assembly import SplitOptions, assemble, check_choices
from preprocessing.dataset import Dataset
from preprocessing.ptbxl import load_ptbxl
from preprocessing.reading import Stored, common_leads, common_rate, read_signals
from preprocessing.signals import ScaledSignals, waveform_digest
from preprocessing.targets import TargetOptions, Targets, TargetSet, find_targets
from preprocessing.window_reading import Cut, read_windows
from utils.errors import DataError, UsageError

logger = logging.getLogger(__name__)

PTBXL_LAYOUT = ("ptbxl", "synthetic")


def load_dataset(
    database: str,
    data_dir: str | os.PathLike,
    task: str,
    sampling_rate: float | None = None,
    *,
    seconds: float = 0,
    leads: Sequence[str] | None = None,
    min_likelihood: float = 0,
    keep_unlabeled: bool = False,
    split: str = "official",
    folds: int = 5,
    fold: int = 1,
    target_options: Mapping[str, Any] | None = None,
    cache_dir: str | os.PathLike | None = None,
    on_duplicates: str = "report",
    on_missing: str = "error",
) -> Dataset:
    """Load a registered database for a task.

    Every recording is read once, resampled to one rate, cropped or padded with zeros to one length or, where
    the target set wants windows, cut into windows, and then comes from a cache of int16 microvolts (float32
    millivolts where a recording exceeds 32.767 mV). PTB-XL and databases in its layout go through
    `load_ptbxl`, which is faster.

    Parameters
    ----------
    database : str
        Name of a registered database, see `databases.list_databases`.
    data_dir : path-like
        Its folder.
    task : str
        Target set of the database, see `preprocessing.targets.list_targets`.
    sampling_rate : float, optional
        In Hz; 0 for that of the recordings; default that of the target set, else that of the recordings.
    seconds : float
        Length of every recording or window; 0 for that of the target set, else that of the recordings, which
        must then be equally long.
    leads : sequence of str, optional
        Leads to read, in this order; default the twelve standard leads where every recording has them, else
        those that all recordings have.
    min_likelihood : float
        A diagnostic statement counts from this likelihood on (0 to 100); 0 counts every one.
    keep_unlabeled : bool
        Keep records without any class.
    split : {"official", "kfold"}
        Splits of the database, or k-fold: folds of whole patients, stratified by label.
    folds, fold : int
        Number of folds, and the one to test on, from 1.
    target_options : dict, optional
        Options of the target set, such as ``tolerance`` of R-peaks.
    cache_dir : path-like, optional
        Where the cache goes; default ``$TWELVELEAD_CACHE``, else ``<data_dir>/.twelvelead_cache``, else (a
        read-only database) the user's cache folder.
    on_duplicates : {"report", "error"}
        What to do about equal recordings in different splits.
    on_missing : {"error", "drop"}
        What to do about listed records of PTB-XL whose files are absent, and about records of other databases
        that cannot be read, for example because samples are missing.

    Returns
    -------
    Dataset
        The records of the task, in the order of the database, in mV.

    Raises
    ------
    DataError
        Something in the folder is missing, damaged or contradictory; the message lists the records.
    UsageError
        Unknown database, task or option, or one that the database cannot follow.
    """
    options: dict[str, Any] = {"split": split, "folds": folds, "fold": fold, "on_duplicates": on_duplicates}
    if database in PTBXL_LAYOUT and not seconds and leads is None:
        find_targets(task, database).settle(target_options or {})
        options |= {"keep_unlabeled": keep_unlabeled, "on_missing": on_missing, "database": database}
        whole = int(sampling_rate or 100)
        return load_ptbxl(data_dir, task, whole, min_likelihood, cache_dir, **options)
    checked = SplitOptions(**options)
    check_choices(on_missing=on_missing)
    opened = open_database(database, data_dir)
    target_set = find_targets(task, database)
    if not len(opened.records):
        raise DataError(f"{opened.root} has no record of {database}")
    wanted = target_set.sampling_rate if sampling_rate is None else sampling_rate
    if database in PTBXL_LAYOUT:
        opened = _fast_enough(opened, wanted or 0)
    rate = common_rate(opened.records, wanted or None)
    _note_rates(opened, rate)
    names = common_leads(opened.records, leads)
    length = seconds or target_set.seconds
    shape = TargetOptions(
        rate,
        round(length * rate),
        names,
        min_likelihood,
        keep_unlabeled,
        target_set.settle(target_options or {}),
    )
    targets, stored = _read(opened, target_set, shape, length, cache_dir, on_missing == "drop")
    present = ~np.isin(np.arange(len(opened.records)), stored.unusable)
    usable = np.flatnonzero(present if targets.starts is None else present[targets.rows])
    return assemble(
        opened,
        target_set,
        targets,
        stored.signals.take(usable),
        stored.digests[usable],
        present,
        checked,
        sampling_rate=rate,
        leads=targets.channels or names,
        version=opened.title,
    )


def _read(
    database: Database,
    target_set: TargetSet,
    shape: TargetOptions,
    seconds: float,
    cache_dir: str | os.PathLike | None,
    drop: bool,
) -> tuple[Targets, Stored]:
    """Targets and signals; targets first unless they need the length of the records."""
    if target_set.windows:
        targets = target_set.build(database, shape)
        return targets, _of_windows(database, targets, shape, cache_dir, drop)
    early = target_set.build(database, shape) if seconds else None
    stored = read_signals(database, shape.leads, shape.sampling_rate, seconds, cache_dir, drop)
    late = replace(shape, samples=stored.signals.shape[1])
    return early or target_set.build(database, late), stored


def _fast_enough(opened: Database, rate: float) -> Database:
    """PTB-XL comes at two rates: the files at the higher one where the lower would be upsampled."""
    if not len(opened.records) or rate <= opened.records["sampling_rate"].iloc[0]:
        return opened
    fastest = max(opened.rates)
    other = open_database(opened.name, opened.root, sampling_rate=fastest)
    try:
        there = (other.root / f"{other.records['path'].iloc[0]}.hea").is_file()
    except DataError:  # a table without names of these files
        there = False
    if there:
        return other
    logger.warning(f"the files at {fastest} Hz are not in {opened.root}: slower ones are upsampled")
    return opened


def _note_rates(database: Database, rate: float) -> None:
    """Say which recordings are resampled."""
    rates = database.records["sampling_rate"]
    other = rates[rates != rate]
    if len(other):
        listed = ", ".join(f"{value:g}" for value in sorted(set(other)))
        logger.info(
            f"{len(other)} of {len(rates)} recordings of {database.name} are resampled from {listed} Hz to "
            f"{rate:g} Hz"
        )
    if (slower := other[other < rate]).size:
        logger.warning(
            f"{len(slower)} of {len(rates)} recordings of {database.name} are slower than {rate:g} Hz: there "
            f"is nothing above half of their own rate in them"
        )


def _of_windows(
    database: Database,
    targets: Targets,
    shape: TargetOptions,
    cache_dir: str | os.PathLike | None,
    drop: bool,
) -> Stored:
    """Signals of windows, or what a model reads in their place."""
    left_out = len(database.records) - len(np.unique(targets.rows))
    if left_out:
        logger.info(f"{left_out} of {len(database.records)} records of {database.name} have no window")
    if targets.signals is not None:
        digests = np.array([waveform_digest(signal) for signal in targets.signals])
        return Stored(ScaledSignals(targets.signals, units_per_mv=1), digests)
    if targets.starts is None:
        raise UsageError(f"{database.name}: targets of windows need the first sample of each (starts)")
    cut = Cut(targets.rows, targets.starts, shape.samples, targets.leads)
    return read_windows(database, cut, shape.leads, shape.sampling_rate, cache_dir, drop)

"""Splits as data: official ones, k-fold by patient, and the check that no patient is in two parts."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.targets.registry import CLASS_KINDS
from utils.errors import DataError, UsageError

if TYPE_CHECKING:
    from databases import Database
    from preprocessing.dataset import Dataset

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "training records", "val": "validation records", "test": "test records"}
LEAST_FOLDS = 3  # one to test on, one to choose on, the others to learn from

logger = logging.getLogger(__name__)


def official(database: Database) -> tuple[np.ndarray, Mapping[str, str]]:
    """Split of each record that a database comes with, and what its splits are called."""
    records = database.records
    splits = records["split"].to_numpy().astype(str) if "split" in records else np.full(len(records), "")
    if not np.isin(splits, SPLITS).all():
        raise UsageError(f"{database.name} has no official splits for all of its records: use --split kfold")
    return splits, database.split_names


def kfold(patients: np.ndarray, targets: np.ndarray, folds: int, fold: int, seed: int = 0) -> np.ndarray:
    """Split records into folds of whole patients in which every label is equally frequent.

    Iterative stratification (Sechidis et al., On the Stratification of Multi-label Data, ECML PKDD 2011,
    doi:10.1007/978-3-642-23808-6_10) with patients instead of records: the rarest label first, the patients
    with most of it first, each into the fold that lacks most of that label. One fold is for testing, the next
    one for validation, the others for training. The folds depend on `seed` alone, so over all values of
    `fold`, from 1, each record is tested once.

    Shapes: patients (N,), targets (N, C) above zero where the label is present -> (N,).
    """
    if not 1 <= fold <= max(folds, LEAST_FOLDS):
        raise UsageError(f"--fold must be from 1 to {folds}, not {fold}")
    assigned = assign_folds(patients, targets, folds, seed)
    return np.select([assigned == fold - 1, assigned == fold % folds], ["test", "val"], "train")


def assign_folds(patients: np.ndarray, targets: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """Fold of each record, from 0, as `kfold` divides them."""
    if folds < LEAST_FOLDS:
        raise UsageError(f"--folds must be at least {LEAST_FOLDS}, not {folds}")
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < folds:
        raise UsageError(f"{len(names)} patients cannot be divided into {folds} folds: use fewer --folds")
    sizes = np.bincount(codes)
    labels = np.zeros((len(names), targets.shape[1]), dtype=np.int64)
    np.add.at(labels, codes, np.asarray(targets) > 0)
    return _stratify(labels, sizes, np.full(folds, 1 / folds), _shuffled(names, seed))[codes]


def _shuffled(patients: np.ndarray, seed: int) -> np.ndarray:
    """Rows of the patients in an order that is the same for numbers and for text."""
    keys = [hashlib.sha256(f"{seed}/{patient}".encode()).digest() for patient in patients.tolist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__))


def _stratify(labels: np.ndarray, sizes: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Fold of each group; of groups with equal labels the first in `order` comes first.

    Shapes: labels (G, C) records of each group with each label, sizes (G,), shares (folds,) of the records,
    order (G,) -> (G,).
    """
    folds = len(shares)
    assigned = np.full(len(sizes), -1)
    groups = np.zeros(folds, dtype=np.int64)
    lacking = labels.sum(axis=0) * shares[:, None]  # records of each label
    room = sizes.sum() * shares

    def assign(group: int, need: np.ndarray) -> None:
        free = np.flatnonzero(groups == 0)
        if len(sizes) - groups.sum() > len(free):  # the groups after this one can fill the empty folds
            free = np.arange(folds)
        best = free[np.lexsort((-room[free], -need[free]))[0]]
        assigned[group] = best
        groups[best] += 1
        lacking[best] -= labels[group]
        room[best] -= sizes[group]

    remaining = labels.sum(axis=0)
    while remaining.any():
        label = np.flatnonzero(remaining == remaining[remaining > 0].min())[0]
        members = order[(assigned[order] < 0) & (labels[order, label] > 0)]
        for group in members[np.argsort(-labels[members, label], kind="stable")]:
            assign(group, lacking[:, label])
            remaining -= labels[group]
    members = order[assigned[order] < 0]
    for group in members[np.argsort(-sizes[members], kind="stable")]:
        assign(group, room)
    return assigned


def fold_names(folds: int, fold: int) -> dict[str, str]:
    """Names of the splits of k-fold."""
    rest = f"the other {folds - 2} folds" if folds > LEAST_FOLDS else "the other fold"
    return {"train": rest, "val": f"fold {fold % folds + 1} of {folds}", "test": f"fold {fold} of {folds}"}


def resplit(dataset: Dataset, folds: int, fold: int) -> Dataset:
    """Replace the splits of a dataset by k-fold ones."""
    splits = kfold(dataset.patients, strata(dataset), folds, fold)
    settings = {key: value for key, value in dataset.settings.items() if key != "reference"}
    return replace(
        dataset, splits=splits, split_names=fold_names(folds, fold), selection="val", settings=settings
    )


def subsample(dataset: Dataset, fraction: float, seed: int = 0) -> Dataset:
    """Keep a fraction of the training and of the validation records, and every test record.

    Whole patients are chosen, so that every label stays about as frequent as it is: see `kfold`. The choice
    depends on the patients, their labels and `seed`.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"--subsample_frac must be above 0 and at most 1, not {fraction}")
    reduced = [split for split in dict.fromkeys(("train", dataset.selection)) if split != "test"]
    if fraction == 1:
        return dataset
    labels, kept = strata(dataset), ~np.isin(dataset.splits, reduced)
    for split in reduced:
        rows = np.flatnonzero(dataset.splits == split)
        if rows.size:
            kept[rows] = _chosen(dataset.patients[rows], labels[rows], fraction, seed)
    names = {split: f"{100 * fraction:g} % of {dataset.split_names[split]}" for split in reduced}
    return replace(dataset.take(kept), split_names=dataset.split_names | names)


def _chosen(patients: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which records are kept; of a single patient all."""
    names, codes = np.unique(patients, return_inverse=True)
    if len(names) == 1:
        return np.full(len(patients), True)
    per_patient = np.zeros((len(names), labels.shape[1]), dtype=np.int64)
    np.add.at(per_patient, codes, np.asarray(labels) > 0)
    shares = np.array([fraction, 1 - fraction])
    assigned = _stratify(per_patient, np.bincount(codes), shares, _shuffled(names, seed))
    return np.asarray((assigned == 0)[codes])


def follow_split(windows: Dataset, settings: Mapping[str, Any]) -> Dataset:
    """Windows with the splits of a run: those of their file, unless its settings say ``split: kfold``."""
    if settings.get("split") != "kfold":
        return windows
    folds, fold = settings["folds"], settings["fold"]
    return windows if windows.split_names == fold_names(folds, fold) else resplit(windows, folds, fold)


def strata(dataset: Dataset) -> np.ndarray:
    """Classes of each record, (N, C): its labels, or what its mask shows somewhere; (N, 0) for other targets.

    A mask has a column for each class, (N, ..., C), or holds class numbers, (N, T).
    """
    targets, classes = dataset.targets, len(dataset.classes)
    if dataset.kind in CLASS_KINDS:
        return targets
    if targets.ndim > 2 and targets.shape[-1] in (classes, classes + 1):  # a column more holds weights
        return np.asarray((targets[..., :classes] > 0).reshape(len(targets), -1, classes).any(axis=1))
    flat = targets.reshape(len(targets), -1)
    if flat.dtype.kind not in "iub":
        return np.zeros((len(targets), 0))
    return np.stack([(flat == number).any(axis=1) for number in range(classes)], axis=1)


def check_patients(dataset: Dataset) -> None:
    """Refuse a dataset in which a patient has records in more than one split.

    A published selection that does this, kept to reproduce it (``settings["reference"]``), gets a warning.
    """
    pairs = sorted(set(zip(dataset.patients.tolist(), dataset.splits.tolist(), strict=True)))
    crossing = list(dict.fromkeys(a for (a, _), (b, _) in itertools.pairwise(pairs) if a == b))
    if not crossing:
        return
    listed = ", ".join(map(str, crossing[:10])) + (", ..." if len(crossing) > 10 else "")
    message = (
        f"{dataset.name or 'dataset'}, task {dataset.task}: {len(crossing)} patients in more than one split: "
        f"patient leakage (patients {listed})"
    )
    if not dataset.settings.get("reference"):
        raise DataError(f"{message}; restore the official splits of the database, or use --split kfold")
    logger.warning("%s, as in the reference: its results are optimistic", message)

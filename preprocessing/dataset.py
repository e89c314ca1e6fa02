"""Recordings or windows with targets, patients and splits: the input of training, scoring and explanation."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from preprocessing.fingerprints import fingerprint_of
from preprocessing.signals import ScaledSignals
from preprocessing.splits import SPLIT_NAMES, SPLITS
from preprocessing.targets import CLASS_KINDS
from preprocessing.targets.regions import (
    Beats,
    Regions,
    sort_annotations,
    take_annotations,
)
from utils.ecg import LEADS
from utils.errors import UsageError, nearest

_PER_RECORD = ("targets", "ids", "patients", "splits", "starts", "folds", "digests")


@dataclass(eq=False)
class Dataset:
    """Recordings, or windows cut from recordings, with their targets.

    Parameters
    ----------
    signals : ScaledSignals or ndarray, shape (N, T, leads)
        float32 in mV on indexing.
    targets : ndarray, shape (N, C) or (N, ...)
        uint8 (N, C), 1 where the class is present; for other kinds one array of any shape per record, such as
        a mask (T,) or (T, leads).
    classes : list of str
        Names of the classes.
    ids : ndarray of int64 or str, shape (N,)
        Record of the database; windows of one record share it.
    patients : ndarray of int64 or str, shape (N,)
        Patients; one may have several records.
    splits : ndarray of str, shape (N,)
        ``train``, ``val`` or ``test``.
    sampling_rate : int
        In Hz.
    task : str
        Name of the target set.
    leads : tuple of str
        Lead of each column of a recording.
    kind : str
        What the targets are: ``multilabel``, ``multiclass`` (exactly one class each), or the name of another
        task.
    name : str
        Name of the database.
    version : str
        Release of the database.
    split_names : dict of str to str
        What each split is, in words, for messages, model cards and reports.
    selection : str
        Split on which the checkpoint, thresholds and calibration are chosen.
    starts : ndarray of int64, shape (N,), optional
        First sample of each window in its record; None for whole records.
    folds : ndarray of int64, shape (N,), optional
        Official fold of each record, where the database numbers them.
    digests : ndarray of str, shape (N,), optional
        Fingerprint of each recording; by default computed when needed.
    normal : list of str
        Classes that are explained only on request.
    settings : dict
        How the dataset was built; ``reference`` is True for the choices of a published study.
    beats : Beats, optional
        Annotated beats.
    regions : Regions, optional
        Annotated regions.
    ground_truths : tuple of str
        Names of the ground truths of explanations; by default those in `beats` and `regions`.

    Raises
    ------
    UsageError
        The parts do not fit together; the message names the one.
    """

    signals: ScaledSignals | np.ndarray
    targets: np.ndarray
    classes: list[str]
    ids: np.ndarray
    patients: np.ndarray
    splits: np.ndarray
    sampling_rate: int
    task: str = "custom"
    leads: tuple[str, ...] = LEADS
    kind: str = "multilabel"
    name: str = ""
    version: str = ""
    split_names: dict[str, str] = field(default_factory=dict)
    selection: str = "val"
    starts: np.ndarray | None = field(default=None, repr=False)
    folds: np.ndarray | None = field(default=None, repr=False)
    digests: np.ndarray | None = field(default=None, repr=False)
    normal: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    beats: Beats | None = field(default=None, repr=False)
    regions: Regions | None = field(default=None, repr=False)
    ground_truths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.signals, ScaledSignals):
            signals = np.asarray(self.signals)
            keep = signals.dtype.kind == "f" and self.starts is None
            self.signals = signals if keep else signals.astype(np.float32)
        self.targets = np.asarray(self.targets, np.uint8 if self.kind in CLASS_KINDS else None)
        self.classes, self.normal = list(self.classes), list(self.normal)
        self.leads = tuple(self.leads)
        self.ids, self.patients = _names(self.ids), _names(self.patients)
        self.splits = np.asarray(self.splits, dtype=str)
        self.split_names = SPLIT_NAMES | self.split_names
        for name in ("starts", "folds"):
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        self.beats, self.regions = sort_annotations(self.beats), sort_annotations(self.regions)
        if not self.ground_truths:
            kinds = [] if self.regions is None else sorted(set(self.regions.kind.tolist()))
            self.ground_truths = (*(() if self.beats is None else ("beats",)), *kinds)
        self.ground_truths = tuple(self.ground_truths)
        self._check()

    def _check(self) -> None:
        count = len(self)
        if self.signals.ndim != 3 or self.signals.shape[2] != len(self.leads):
            raise UsageError(
                f"signals are {self.signals.shape}, expected (N, T, {len(self.leads)}), one column per lead"
            )
        shape = (count, len(self.classes)) if self.kind in CLASS_KINDS else (count, *self.targets.shape[1:])
        if self.targets.shape != shape:
            raise UsageError(f"targets are {self.targets.shape}, expected {shape}")
        for name in _PER_RECORD[1:]:
            value = getattr(self, name)
            if value is not None and value.shape != (count,):
                raise UsageError(f"{name} is {value.shape}, expected {(count,)}")
        for split in sorted({*self.splits.tolist(), *self.split_names, self.selection} - set(SPLITS)):
            raise UsageError(f"unknown split '{split}': {nearest(split, SPLITS)}")
        if self.kind == "multiclass" and not (self.targets.sum(axis=1) == 1).all():
            raise UsageError("a multiclass dataset needs exactly one class per record")
        for part in (self.beats, self.regions):
            if part is not None and np.any((part.window < 0) | (part.window >= count)):
                raise UsageError(f"annotations name windows beyond the last of {count}")

    def __len__(self) -> int:
        return len(self.signals)

    # other names
    labels = property(operator.attrgetter("targets"))
    ecg_ids = records = property(operator.attrgetter("ids"))
    patient_ids = property(operator.attrgetter("patients"))

    @property
    def multilabel(self) -> bool:
        """Whether a record may have several classes or none."""
        return self.kind == "multilabel"

    @property
    def samples(self) -> int:
        """Samples of a recording."""
        return self.signals.shape[1]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over signals, targets, records, patients, splits and settings: equal data, equal text.

        Waveforms count as they are stored: the same recordings as float32 mV in memory have another one than
        as int16. Computed once.
        """
        return fingerprint_of(self)

    def take(self, indices: Any) -> Dataset:
        """Choose records, with their annotations, without reading them.

        Parameters
        ----------
        indices : array_like of int or bool
            Which records, in which order.

        Returns
        -------
        Dataset
            The chosen records.
        """
        indices = np.asarray(indices)
        rows = np.arange(len(self))[indices.astype(np.int64) if indices.size == 0 else indices]
        parts: dict[str, Any] = {name: getattr(self, name) for name in _PER_RECORD}
        parts = {name: None if values is None else values[rows] for name, values in parts.items()}
        lazy = isinstance(self.signals, ScaledSignals)
        parts["signals"] = self.signals.take(rows) if lazy else self.signals[rows]
        parts["beats"] = take_annotations(self.beats, rows)
        parts["regions"] = take_annotations(self.regions, rows)
        return replace(self, **parts)

    def split(self, name: str) -> Dataset:
        """Give one of the three parts.

        Parameters
        ----------
        name : str
            ``train``, ``val`` or ``test``.

        Returns
        -------
        Dataset
            Its records, in the order of the dataset.

        Raises
        ------
        UsageError
            Unknown split, or one without a record in this dataset.
        """
        if name not in SPLITS:
            raise UsageError(f"unknown split '{name}': {nearest(name, SPLITS)}")
        rows = np.flatnonzero(self.splits == name)
        if not rows.size:
            present = ", ".join(sorted(set(self.splits.tolist()))) or "no record"
            which = f"{self.name}, task {self.task}" if self.name else f"task {self.task}"
            raise UsageError(f"this dataset ({which}) has no {name} split; it has {present}")
        return self.take(rows)

    def select(self, limit: int | None, seed: int = 0) -> Dataset:
        """Choose at most `limit` records at random, for a quick try.

        Parameters
        ----------
        limit : int or None
            How many; None keeps all.
        seed : int
            The same seed chooses the same records.

        Returns
        -------
        Dataset
            The chosen records, in their order.

        Raises
        ------
        UsageError
            `limit` is below 1.
        """
        if limit is None or limit >= len(self):
            return self
        if limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:limit]))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count records, patients and classes of each split.

        Returns
        -------
        dict of str to dict of str to int
            For every split that is present ``records``, ``patients`` and, where the targets are classes, each
            class.
        """
        result = {}
        for split in (name for name in SPLITS if (self.splits == name).any()):
            inside = self.splits == split
            patients = len(set(self.patients[inside].tolist()))
            result[split] = {"records": int(inside.sum()), "patients": patients}
            if self.kind in CLASS_KINDS:
                per_class = self.targets[inside].sum(axis=0, dtype=np.int64).tolist()
                result[split] |= dict(zip(self.classes, per_class, strict=True))
        return result


ECGDataset = Dataset  # its name before windows became the same type


def _names(values: Any) -> np.ndarray:
    """Identifiers as int64 where they are integers, as text otherwise."""
    array = np.asarray(values)
    empty_list = array.dtype == np.float64 and not array.size
    return array.astype(np.int64 if array.dtype.kind in "iu" or empty_list else str)

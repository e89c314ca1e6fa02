"""A labelled set of recordings with its splits: the start of all training, metrics and pictures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from preprocessing.signals import ScaledSignals, waveform_digest
from utils.ecg import LEADS
from utils.errors import UsageError, nearest

SPLITS = ("train", "val", "test")


def splits_of_folds(folds: np.ndarray) -> np.ndarray:
    """Name the split of each record from its fold, as PTB-XL recommends.

    Parameters
    ----------
    folds : ndarray of int, shape (N,)
        ``strat_fold``, 1 to 10.

    Returns
    -------
    ndarray of str, shape (N,)
        ``train`` for folds 1-8, ``val`` for 9, ``test`` for 10.
    """
    return np.asarray(SPLITS)[np.clip(np.asarray(folds, dtype=np.int64) - 8, 0, 2)]


@dataclass
class ECGDataset:
    """Recordings and labels, record by record.

    Parameters
    ----------
    signals : ScaledSignals or ndarray, shape (N, T, leads)
        float32 in mV on indexing.
    labels : ndarray of uint8, shape (N, C)
        1 where the class is present.
    classes : list of str
        Names of the columns of `labels`.
    ecg_ids : ndarray of int64, shape (N,)
        Record numbers of the database.
    patient_ids : ndarray of int64, shape (N,)
        Patients; one may have several records.
    folds : ndarray of int64, shape (N,)
        ``strat_fold``, 1 to 10.
    sampling_rate : int
        In Hz.
    task : str
        Name of the label set.
    leads : tuple of str
        Lead of each column of a recording.
    splits : ndarray of str, shape (N,), optional
        ``train``, ``val`` or ``test``; by default from the folds (1-8, 9, 10).
    digests : ndarray of str, shape (N,), optional
        Fingerprint of each recording; by default computed when needed.
    version : str
        Release of the database.
    """

    signals: ScaledSignals | np.ndarray
    labels: np.ndarray
    classes: list[str]
    ecg_ids: np.ndarray
    patient_ids: np.ndarray
    folds: np.ndarray
    sampling_rate: int
    task: str = "custom"
    leads: tuple[str, ...] = LEADS
    splits: np.ndarray = None  # type: ignore[assignment]  # always an array after __post_init__
    digests: np.ndarray | None = field(default=None, repr=False)
    version: str = ""

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.labels, dtype=np.uint8)
        self.classes = list(self.classes)
        for name in ("ecg_ids", "patient_ids", "folds"):
            setattr(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        self.splits = (
            splits_of_folds(self.folds) if self.splits is None else np.asarray(self.splits, dtype="<U5")
        )
        if self.labels.shape != (len(self), len(self.classes)):
            raise UsageError(f"labels are {self.labels.shape}, expected {(len(self), len(self.classes))}")
        for name in ("ecg_ids", "patient_ids", "folds", "splits"):
            if getattr(self, name).shape != (len(self),):
                raise UsageError(f"{name} is {getattr(self, name).shape}, expected {(len(self),)}")

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over records, labels, splits, waveforms, rate and release: equal data, equal text.

        Waveforms count as they are stored: the same recordings as float32 mV in memory have another one than
        as int16.
        """
        digests = self.digests
        if digests is None:
            stored = self.signals.raw if isinstance(self.signals, ScaledSignals) else self.signals.__getitem__
            digests = np.asarray([waveform_digest(np.ascontiguousarray(stored(i))) for i in range(len(self))])
        description = {
            "format": 1,
            "task": self.task,
            "classes": self.classes,
            "leads": list(self.leads),
            "sampling_rate": int(self.sampling_rate),
            "version": self.version,
            "ecg_ids": self.ecg_ids.tolist(),
            "patient_ids": self.patient_ids.tolist(),
            "splits": self.splits.tolist(),
            "waveforms": digests.tolist(),
        }
        digest = hashlib.sha256(json.dumps(description).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()

    def take(self, indices: Any) -> ECGDataset:
        """Choose records without reading them.

        Parameters
        ----------
        indices : array_like of int or bool
            Which records, in which order.

        Returns
        -------
        ECGDataset
            The chosen records.
        """
        indices = np.asarray(indices)
        if indices.size == 0:
            indices = indices.astype(np.int64)
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("labels", "ecg_ids", "patient_ids", "folds", "splits", "digests"):
            if chosen[name] is not None:
                chosen[name] = chosen[name][indices]
        lazy = isinstance(self.signals, ScaledSignals)
        chosen["signals"] = self.signals.take(indices) if lazy else self.signals[indices]
        return ECGDataset(**chosen)

    def split(self, name: str) -> ECGDataset:
        """Give one of the three parts.

        Parameters
        ----------
        name : str
            ``train`` (folds 1-8), ``val`` (fold 9) or ``test`` (fold 10).

        Returns
        -------
        ECGDataset
            Its records, in the order of the database.

        Raises
        ------
        UsageError
            There is no such split, or this dataset holds none of its records.
        """
        if name not in SPLITS:
            raise UsageError(f"unknown split '{name}': {nearest(name, SPLITS)}")
        rows = np.flatnonzero(self.splits == name)
        if not rows.size:
            there = ", ".join(sorted(set(self.splits.tolist()))) or "no record"
            raise UsageError(f"this dataset (task {self.task}) has no {name} split; it has {there}")
        return self.take(rows)

    def select(self, limit: int | None, seed: int = 0) -> ECGDataset:
        """Choose at most `limit` records at random, for a quick try.

        Parameters
        ----------
        limit : int or None
            How many; None keeps all.
        seed : int
            The same seed chooses the same records.

        Returns
        -------
        ECGDataset
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

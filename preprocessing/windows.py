"""The windows that are explained, their labels and splits, and the truth that maps are compared with.

Two kinds of truth: beats (a beat of the window's class owns the stretch around it, in every lead), and
regions given outright, lead by lead: planted signs of disease, or delineated P waves, QRS complexes and T
waves.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from preprocessing.dataset import SPLITS, ECGDataset
from preprocessing.signals import ScaledSignals
from preprocessing.targets.beats import beat_spans
from preprocessing.targets.regions import Beats, Regions, in_order, truth_of
from utils.errors import DataError, UsageError, nearest
from utils.files import read_error, write_npz

__all__ = ["Beats", "Regions", "Windows", "load_windows"]

FORMAT = "twelvelead attribution windows 1"
_FOLDS = {"train": 1, "val": 9, "test": 10}
_TEXTS = ("records", "patients", "splits")
_META = ("classes", "leads", "sampling_rate", "dataset", "multilabel", "normal", "settings", "truths")


@dataclass
class Windows:
    """Labelled windows of ECG with splits and ground truth.

    Parameters
    ----------
    signals : ScaledSignals or ndarray of float32, shape (N, T, leads)
        float32 in mV on indexing.
    labels : ndarray of uint8, shape (N, C)
        1 where the class is present; exactly one a row unless `multilabel`.
    classes : list of str
        Names of the columns of `labels`.
    leads : tuple of str
        Names of the leads.
    sampling_rate : int
        In Hz.
    dataset : str
        Name of the dataset, such as ``mitdb``.
    records : ndarray of str, shape (N,)
        Record each window is from.
    patients : ndarray of str, shape (N,)
        Patient each window is from.
    starts : ndarray of int64, shape (N,)
        First sample of the window in its record.
    splits : ndarray of str, shape (N,)
        ``train``, ``val`` or ``test``.
    multilabel : bool
        Whether a window may have several classes or none.
    normal : list of str
        Classes that are not explained unless asked for.
    settings : dict
        How the windows were made; ``reference`` is True for the published study's own choices.
    beats : Beats, optional
        Truth by beats.
    regions : Regions, optional
        Truth by regions.
    truths : tuple of str
        Names of the truths there are; by default found from `beats` and `regions`.
    """

    signals: ScaledSignals | np.ndarray
    labels: np.ndarray
    classes: list[str]
    leads: tuple[str, ...]
    sampling_rate: int
    dataset: str
    records: np.ndarray
    patients: np.ndarray
    starts: np.ndarray
    splits: np.ndarray
    multilabel: bool = False
    normal: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    beats: Beats | None = None
    regions: Regions | None = None
    truths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.labels, dtype=np.uint8)
        self.classes, self.normal = list(self.classes), list(self.normal)
        self.leads = tuple(self.leads)
        self.starts = np.asarray(self.starts, dtype=np.int64)
        for name in _TEXTS:
            setattr(self, name, np.asarray(getattr(self, name), dtype=str))
        if not isinstance(self.signals, ScaledSignals):
            self.signals = np.asarray(self.signals, dtype=np.float32)
        self.beats = in_order(Beats, self.beats)
        self.regions = in_order(Regions, self.regions)
        if not self.truths:
            found = [] if self.beats is None else ["beats"]
            found += [] if self.regions is None else sorted(set(self.regions.kind.tolist()))
            self.truths = tuple(found)
        self.truths = tuple(self.truths)
        self._check()

    def _check(self) -> None:
        """Refuse what does not fit together."""
        count = len(self)
        if self.signals.ndim != 3 or self.signals.shape[2] != len(self.leads):
            raise UsageError(
                f"signals are {self.signals.shape}, expected (N, T, {len(self.leads)}), one column a lead"
            )
        if self.labels.shape != (count, len(self.classes)):
            raise UsageError(f"labels are {self.labels.shape}, expected {(count, len(self.classes))}")
        for name in (*_TEXTS, "starts"):
            if getattr(self, name).shape != (count,):
                raise UsageError(f"{name} is {getattr(self, name).shape}, expected {(count,)}")
        strange = sorted(set(self.splits.tolist()) - set(SPLITS))
        if strange:
            raise UsageError(f"unknown split '{strange[0]}': {nearest(strange[0], SPLITS)}")
        if not self.multilabel and count and not (self.labels.sum(axis=1) == 1).all():
            raise UsageError("windows of a single-label dataset need exactly one class each")
        for truth in (self.beats, self.regions):
            if truth is not None and np.any((truth.window < 0) | (truth.window >= count)):
                raise UsageError(f"the truth names windows beyond the {count} there are")

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return self.signals.shape[1]

    def select(self, split: str | None = None, rows: Any = None) -> Windows:
        """Choose windows, with their truth.

        Parameters
        ----------
        split : str, optional
            Only this split: ``train``, ``val`` or ``test``.
        rows : array_like of int or bool, optional
            Which windows, in which order; counted before `split` applies.

        Returns
        -------
        Windows
            The chosen windows.

        Raises
        ------
        UsageError
            There is no such split, or it holds no window.
        """
        chosen = np.arange(len(self)) if rows is None else np.arange(len(self))[np.asarray(rows)]
        if split is not None:
            if split not in SPLITS:
                raise UsageError(f"unknown split '{split}': {nearest(split, SPLITS)}")
            chosen = chosen[self.splits[chosen] == split]
            if not chosen.size:
                there = ", ".join(sorted(set(self.splits.tolist()))) or "no window"
                raise UsageError(f"{self.dataset} has no {split} window here; it has {there}")
        lazy = isinstance(self.signals, ScaledSignals)
        per_window = {name: getattr(self, name)[chosen] for name in (*_TEXTS, "starts", "labels")}
        return replace(
            self,
            signals=self.signals.take(chosen) if lazy else self.signals[chosen],
            beats=truth_of(self.beats, chosen),
            regions=truth_of(self.regions, chosen),
            **per_window,
        )

    def spans(self, row: int) -> dict[str, list[tuple[int, int]]]:
        """Stretches that the beats of one window own.

        Parameters
        ----------
        row : int
            The window.

        Returns
        -------
        dict of str to list of tuple of (start, stop)
            For every class, in samples, in order of time.

        Raises
        ------
        UsageError
            The windows have no beats, or there is no such row.
        """
        if self.beats is None:
            raise UsageError(f"the windows of {self.dataset} have no beats; truths: {', '.join(self.truths)}")
        beats = self._rows_of(self.beats, row)
        spans: dict[str, list[tuple[int, int]]] = {name: [] for name in self.classes}
        for start, stop, index in beat_spans(beats.sample, beats.cls, self.samples):
            if index < len(self.classes):
                spans[self.classes[index]].append((start, stop))
        return spans

    def mask(self, row: int, target: int, truth: str) -> np.ndarray:
        """Say where the evidence for a class is.

        Parameters
        ----------
        row : int
            The window.
        target : int
            Index of the class that is explained.
        truth : str
            Which truth, one of `truths`.

        Returns
        -------
        ndarray of bool, shape (T, leads)
            True where the truth is; all False where the window has none.

        Raises
        ------
        UsageError
            There is no such window, class or truth.
        """
        if truth not in self.truths:
            raise UsageError(f"{self.dataset} has no truth '{truth}': {nearest(truth, self.truths)}")
        if not 0 <= target < len(self.classes):
            raise UsageError(f"target {target} is no class index: {self.dataset} has {len(self.classes)}")
        mask = np.zeros((self.samples, len(self.leads)), dtype=bool)
        if truth == "beats":
            for start, stop in self.spans(row)[self.classes[target]]:
                mask[start:stop] = True
            return mask
        regions = self._rows_of(self.regions, row)
        chosen = (regions.kind == truth) & ((regions.cls == target) | (regions.cls == -1))
        for place in np.flatnonzero(chosen):
            lead = regions.lead[place]
            mask[regions.start[place] : regions.stop[place], slice(None) if lead < 0 else lead] = True
        return mask

    def _rows_of(self, truth: Any, row: int) -> Any:
        if not 0 <= row < len(self):
            raise UsageError(f"there is no window {row}: {self.dataset} has {len(self)}")
        start, stop = np.searchsorted(truth.window, [row, row + 1])
        return type(truth)(*(values[start:stop] for values in truth))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count windows by split and class.

        Returns
        -------
        dict of str to dict of str to int
            For every split there is, ``windows``, ``patients`` and each class.
        """
        result = {}
        for split in (name for name in SPLITS if (self.splits == name).any()):
            inside = self.splits == split
            numbers = {"windows": int(inside.sum()), "patients": len(set(self.patients[inside].tolist()))}
            per_class = self.labels[inside].sum(axis=0, dtype=np.int64).tolist()
            result[split] = numbers | dict(zip(self.classes, per_class, strict=True))
        return result

    def to_dataset(self) -> ECGDataset:
        """Give the windows as records of a dataset, for training and prediction.

        Returns
        -------
        ECGDataset
            ``ecg_ids`` are row numbers, ``patient_ids`` number the patients in sorted order.
        """
        _, codes = np.unique(self.patients, return_inverse=True)
        return ECGDataset(
            signals=self.signals,
            labels=self.labels,
            classes=self.classes,
            ecg_ids=np.arange(len(self)),
            patient_ids=codes,
            folds=np.array([_FOLDS[split] for split in self.splits.tolist()], dtype=np.int64),
            sampling_rate=self.sampling_rate,
            task=self.dataset,
            leads=self.leads,
            splits=self.splits,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything here: equal windows, equal text. Computed once."""
        arrays, meta = self._parts()
        digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            if array.dtype.kind == "U":
                content = "\0".join(array.tolist()).encode()  # the width of the array does not matter
            else:
                content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            digest.update(f"{name} {array.shape} {array.dtype.kind}".encode())
            digest.update(content)
        return digest.hexdigest()

    def _parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and plain values, together all there is."""
        meta = {name: getattr(self, name) for name in _META}
        meta |= {"format": FORMAT, "leads": list(self.leads), "truths": list(self.truths)}
        arrays = {name: getattr(self, name) for name in (*_TEXTS, "starts", "labels")}
        if isinstance(self.signals, ScaledSignals):
            meta["units_per_mv"], arrays["signals"] = self.signals.units_per_mv, self.signals.raw(slice(None))
        else:
            meta["units_per_mv"], arrays["signals"] = None, self.signals
        for prefix, truth in (("beats", self.beats), ("regions", self.regions)):
            if truth is not None:
                arrays |= {f"{prefix}_{name}": getattr(truth, name) for name in truth._fields}
        return arrays, json.loads(json.dumps(meta))

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one .npz file, atomically.

        Parameters
        ----------
        path : path-like
            The file.
        """
        arrays, meta = self._parts()
        texts = {"meta": json.dumps(meta, sort_keys=True), "fingerprint": self.fingerprint}
        write_npz(path, **{name: np.array(text) for name, text in texts.items()}, **arrays)


def load_windows(path: str | os.PathLike) -> Windows:
    """Read what `Windows.save` wrote."""
    try:
        with open(path, "rb") as opened, _archive(opened, path) as file:
            if "meta" not in file.files:
                raise DataError(f"{path} holds no windows: {_REMEDY}")
            meta = json.loads(str(file["meta"]))
            if not isinstance(meta, dict) or meta.get("format") != FORMAT:
                raise DataError(f"{path} is not in the format '{FORMAT}': {_REMEDY}")
            arrays = {name: file[name] for name in file.files if name != "meta"}
        windows = _from_parts(arrays, meta)
        if windows.fingerprint != str(arrays["fingerprint"]):
            raise DataError(f"{path} is damaged (its content has another fingerprint): {_REMEDY}")
        return windows
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: {_REMEDY}") from error
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, UsageError) as error:
        raise DataError(f"{path} does not hold windows that can be used ({error}): {_REMEDY}") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path} is damaged ({error}): {_REMEDY}") from error
    except OSError as error:
        raise read_error(path, error) from error


def _archive(opened: BinaryIO, path: str | os.PathLike) -> Any:
    """The open file as a .npz archive; of any other file, numpy's message would recommend to unpickle it."""
    if opened.read(2) != b"PK":
        raise DataError(f"{path} is no .npz file: {_REMEDY}")
    opened.seek(0)
    return np.load(opened, allow_pickle=False)


_REMEDY = "write it with `python -m attribution.build`"


def _from_parts(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Windows:
    signals: Any = arrays["signals"]
    if meta["units_per_mv"] is not None:
        signals = ScaledSignals(signals, units_per_mv=meta["units_per_mv"])
    truths: dict[str, Any] = {}
    for kind, name in ((Beats, "beats"), (Regions, "regions")):
        if f"{name}_window" in arrays:
            truths[name] = kind(*(arrays[f"{name}_{part}"] for part in kind._fields))
    per_window: dict[str, Any] = {name: arrays[name] for name in (*_TEXTS, "starts", "labels")}
    return Windows(signals=signals, **per_window, **truths, **{name: meta[name] for name in _META})

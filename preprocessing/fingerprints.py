"""Fingerprints of datasets: equal data give equal text, on every machine and in every release.

Whole records and windows have a description each. Both are stored in model cards and window files, so what is
added to a dataset enters its description only where it differs from what was possible before.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocessing.signals import ScaledSignals, waveform_digest
from preprocessing.splits import SPLIT_NAMES
from preprocessing.targets import CLASS_KINDS

if TYPE_CHECKING:
    from preprocessing.dataset import Dataset

WINDOWS_FORMAT = "twelvelead attribution windows 1"
_WORDS = ("split_names", "selection")  # how splits are called and used; the splits themselves count


def fingerprint_of(dataset: Dataset) -> str:
    """SHA-256 over everything that is in a dataset."""
    return _of_records(dataset) if dataset.starts is None else _of_windows(dataset)


def _of_records(dataset: Dataset) -> str:
    digests = dataset.digests
    if digests is None:
        signals = dataset.signals
        stored = signals.raw if isinstance(signals, ScaledSignals) else signals.__getitem__
        digests = np.asarray([waveform_digest(np.ascontiguousarray(stored(i))) for i in range(len(dataset))])
    description = {
        "format": 1,
        "task": dataset.task,
        "classes": dataset.classes,
        "leads": list(dataset.leads),
        "sampling_rate": int(dataset.sampling_rate),
        "version": dataset.version,
        "ecg_ids": dataset.ids.tolist(),
        "patient_ids": dataset.patients.tolist(),
        "splits": dataset.splits.tolist(),
        "waveforms": digests.tolist(),
    }
    if dataset.targets.ndim != 2 or dataset.targets.dtype != np.uint8:
        description["targets"] = [dataset.kind, str(dataset.targets.dtype), list(dataset.targets.shape)]
    digest = hashlib.sha256(json.dumps(description).encode())
    digest.update(np.ascontiguousarray(dataset.targets).tobytes())
    if dataset.beats is not None or dataset.regions is not None:
        _update(digest, _annotations(dataset))
    return digest.hexdigest()


def _of_windows(dataset: Dataset) -> str:
    arrays, meta = window_parts(dataset, signals=dataset.digests is None)
    if dataset.digests is not None:  # windows of a cache are not read only to tell what they are
        arrays["digests"] = dataset.digests
    counted = {name: value for name, value in meta.items() if name not in _WORDS}
    digest = hashlib.sha256(json.dumps(counted, sort_keys=True).encode())
    _update(digest, arrays)
    return digest.hexdigest()


def _update(digest: Any, arrays: dict[str, np.ndarray]) -> None:
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.kind == "U":
            content = "\0".join(array.tolist()).encode()  # the width of the array does not matter
        else:
            content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        digest.update(f"{name} {array.shape} {array.dtype.kind}".encode())
        digest.update(content)


def _annotations(dataset: Dataset) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for prefix, part in (("beats", dataset.beats), ("regions", dataset.regions)):
        if part is not None:
            arrays |= {f"{prefix}_{name}": values for name, values in part._asdict().items()}
    return arrays


def window_parts(dataset: Dataset, signals: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and plain values of windows, together everything, under the names of a window file."""
    meta: dict[str, Any] = {
        "format": WINDOWS_FORMAT,
        "classes": dataset.classes,
        "leads": list(dataset.leads),
        "sampling_rate": dataset.sampling_rate,
        "dataset": dataset.name,
        "multilabel": dataset.multilabel,
        "normal": dataset.normal,
        "settings": dataset.settings,
        "truths": list(dataset.ground_truths),
    }
    if dataset.kind not in CLASS_KINDS:
        meta["kind"] = dataset.kind
    if dataset.split_names != SPLIT_NAMES:
        meta["split_names"] = dataset.split_names
    if dataset.selection != "val":
        meta["selection"] = dataset.selection
    arrays = {
        "records": dataset.ids.astype(str),
        "patients": dataset.patients.astype(str),
        "starts": np.asarray(dataset.starts),
        "splits": dataset.splits,
        "labels": dataset.targets,
        **_annotations(dataset),
    }
    stored = dataset.signals
    meta["units_per_mv"] = stored.units_per_mv if isinstance(stored, ScaledSignals) else None
    if signals:
        arrays["signals"] = stored.raw(slice(None)) if isinstance(stored, ScaledSignals) else stored
    return arrays, json.loads(json.dumps(meta))

"""Windows in one .npz file: what `attribution.build` writes and the attribution study reads."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.fingerprints import WINDOWS_FORMAT, window_parts
from preprocessing.signals import ScaledSignals
from preprocessing.targets.regions import Beats, Regions
from utils.errors import DataError, UsageError
from utils.files import open_npz, read_error, write_npz
from utils.text import short_reason

__all__ = ["Beats", "Regions", "Windows", "load_windows", "save_windows"]

Windows = Dataset  # windows are a dataset with `starts`

_REMEDY = "write it with `python -m attribution.build`"


def save_windows(windows: Dataset, path: str | os.PathLike) -> None:
    """Write windows to one .npz file, atomically."""
    arrays, meta = window_parts(windows)
    texts = {"meta": json.dumps(meta, sort_keys=True), "fingerprint": windows.fingerprint}
    write_npz(path, **{name: np.array(text) for name, text in texts.items()}, **arrays)


def load_windows(path: str | os.PathLike) -> Dataset:
    """Read what `save_windows` wrote."""
    try:
        with open_npz(path) as file:
            if "meta" not in file.files:
                raise DataError(f"{path} holds no windows: {_REMEDY}")
            meta = json.loads(str(file["meta"]))
            if not isinstance(meta, dict) or meta.get("format") != WINDOWS_FORMAT:
                raise DataError(f"{path} is not in the format '{WINDOWS_FORMAT}': {_REMEDY}")
            arrays = {name: file[name] for name in file.files if name != "meta"}
        windows = _from_parts(arrays, meta)
        if windows.fingerprint != str(arrays["fingerprint"]):
            raise DataError(f"{path} is damaged (its content has another fingerprint): {_REMEDY}")
        return windows
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: {_REMEDY}") from error
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, RecursionError, UsageError) as error:
        raise DataError(
            f"{path} does not hold windows that can be used ({short_reason(error)}): {_REMEDY}"
        ) from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path} is damaged ({short_reason(error)}): {_REMEDY}") from error
    except OSError as error:
        raise read_error(path, error) from error


def _from_parts(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Dataset:
    signals: Any = arrays["signals"]
    if meta["units_per_mv"] is not None:
        signals = ScaledSignals(signals, units_per_mv=meta["units_per_mv"])
    annotations: dict[str, Any] = {}
    for kind, name in ((Beats, "beats"), (Regions, "regions")):
        if f"{name}_window" in arrays:
            annotations[name] = kind(*(arrays[f"{name}_{part}"] for part in kind._fields))
    return Dataset(
        signals=signals,
        targets=arrays["labels"],
        ids=arrays["records"],
        patients=arrays["patients"],
        starts=arrays["starts"],
        splits=arrays["splits"],
        task=meta["dataset"],
        name=meta["dataset"],
        kind=meta.get("kind", "multilabel" if meta["multilabel"] else "multiclass"),
        ground_truths=tuple(meta["truths"]),
        split_names=meta.get("split_names", {}),
        selection=meta.get("selection", "val"),
        **{name: meta[name] for name in ("classes", "leads", "sampling_rate", "normal", "settings")},
        **annotations,
    )

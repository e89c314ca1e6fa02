"""Plain arrays without names, units or rate, from files of any format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import RawFile, Request
from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError


def channels_of_array(path: Path, kind: str, array: object, request: Request, unit: str = "") -> RawFile:
    """Channels of a plain array, whose leads have no names of their own."""
    named = request.leads is not None
    count = len(request.leads) if request.leads else len(LEADS)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: holds no plain array of real numbers; save the signals as float32, shape (T, 12)"
        )
    if array.ndim == 3:
        raise DataError(f"{path}: has shape {array.shape}, a batch: save one record, array[0]")
    if array.ndim != 2 or count not in array.shape:
        raise DataError(
            f"{path}: has shape {array.shape}, but (T, {count}) or ({count}, T) is needed; "
            "where it holds other leads than the 12, name them all: --leads I,II,V1,V2,V3,V4,V5,V6"
        )
    if array.shape == (count, count):
        raise DataError(
            f"{path}: has shape {array.shape}: time and leads cannot be told apart, and it is far too short"
        )
    notes = []
    if array.shape[1] != count:
        array = array.T
        notes.append(f"the array has shape ({count}, T) and was transposed")
    if not named:
        notes.append(f"a {kind} file names no leads: the order {', '.join(DISPLAY_NAMES)} is assumed")
    names = [f"channel {i + 1}" for i in range(count)] if named else list(LEADS)
    return RawFile(
        kind, [Channel(name, array[:, i].astype(np.float64), unit) for i, name in enumerate(names)], notes
    )

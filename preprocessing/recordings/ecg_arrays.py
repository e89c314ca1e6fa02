"""Readers of MATLAB and NumPy files: plain arrays without names, units or rate."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.ecg_files import RawFile, reason
from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError

# Runs in a process of its own: SciPy's MATLAB reader can crash the interpreter on damaged files.
_READ_MAT = """
import sys, numpy, scipy.io
content = scipy.io.loadmat(sys.argv[1])
found = [name for name in content if not name.startswith("__")]
if "val" in content:
    array = content["val"]
else:
    fields = content["ECG"].dtype.names if "ECG" in content else None
    array = content["ECG"]["data"][0, 0] if fields and "data" in fields else None
if array is None:
    sys.exit("holds neither 'val' nor 'ECG.data' (found: " + (", ".join(found) or "nothing") + ")")
numpy.save(sys.stdout.buffer, numpy.asarray(array), allow_pickle=False)
"""


def read_mat(path: Path, count: int = len(LEADS), named: bool = False) -> RawFile:
    """Read a MATLAB file: ``val`` (leads, T) as in CinC 2020/2021, or ``ECG.data`` as in CPSC 2018."""
    done = subprocess.run([sys.executable, "-c", _READ_MAT, str(path)], capture_output=True, check=False)
    try:
        array = np.load(io.BytesIO(done.stdout), allow_pickle=False) if done.returncode == 0 else None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a readable MATLAB file ({reason(error)})") from error
    if array is None:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said and done.returncode > 0 else "it crashes the reader"
        raise DataError(
            f"{path}: not a readable MATLAB file ({why}); "
            "in MATLAB, save the signals, shape (12, T), with: save(file, 'val', '-v7')"
        )
    unit = "ADC units" if array.dtype.kind in "iu" else ""
    return _from_array(path, "MAT", array, unit, count, named)


def read_npy(path: Path, count: int = len(LEADS), named: bool = False) -> RawFile:
    """Read a NumPy array of shape (T, leads) or (leads, T); pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        raise DataError(
            f"{path}: not a readable .npy file of numbers ({reason(error)}); write it with "
            "numpy.save(file, signals, allow_pickle=False)"
        ) from error
    return _from_array(path, "NumPy", array, "", count, named)


def _from_array(path: Path, kind: str, array: object, unit: str, count: int, named: bool) -> RawFile:
    """Channels of a plain array, whose leads have no names of their own."""
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

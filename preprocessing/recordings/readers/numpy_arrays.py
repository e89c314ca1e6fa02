"""Reader of NumPy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from preprocessing.recordings.arrays import channels_of_array
from preprocessing.recordings.formats import Format, RawFile, Request, reason, register_format
from utils.errors import DataError


def is_npy(head: bytes, path: Path) -> bool:
    """Whether a file begins with NumPy's signature."""
    return head.startswith(b"\x93NUMPY")


def read_npy(path: Path, request: Request) -> RawFile:
    """Read a NumPy array of shape (T, leads) or (leads, T); pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        raise DataError(
            f"{path}: not a readable .npy file of numbers ({reason(error)}); write it with "
            "numpy.save(file, signals, allow_pickle=False)"
        ) from error
    return channels_of_array(path, "NumPy", array, request)


register_format(Format("NumPy", (".npy",), is_npy, read_npy))

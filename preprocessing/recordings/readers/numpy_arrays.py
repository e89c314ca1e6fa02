"""Reader of NumPy files, one array (.npy) or several (.npz)."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from preprocessing.recordings.arrays import channels_of_array, choose_array, lead_count, read_stated
from preprocessing.recordings.formats import (
    Format,
    RawFile,
    Request,
    check_amount,
    read_head,
    reason,
    register_format,
)
from utils.errors import DataError
from utils.files import array_headers

_REMEDY = "write it with numpy.save(file, signals, allow_pickle=False)"
_SMALL_BYTES = 2**16  # of an array of names or numbers that stands beside the signals


def is_npy(head: bytes, path: Path) -> bool:
    """Whether a file begins with NumPy's signature, or is a zip archive with an array."""
    return head.startswith(b"\x93NUMPY") or (head.startswith(b"PK\x03\x04") and b".npy" in head[:512])


def read_npy(path: Path, request: Request) -> RawFile:
    """Read an array of shape (T, leads) or (leads, T); pickled objects are refused."""
    try:
        head = read_head(path)
        if head.startswith(b"PK"):
            return _read_npz(path, request)
        if not is_npy(head, path):
            raise ValueError("it does not begin as one")
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # the file must be as long as it says
    except DataError:
        raise
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        raise DataError(
            f"{path}: not a readable .npy file of numbers ({reason(error)}); {_REMEDY}"
        ) from error
    return channels_of_array(path, "NumPy", array, request)


def _read_npz(path: Path, request: Request) -> RawFile:
    """Array of an archive, and what stands beside it; sizes are compared before anything is unpacked."""
    with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
        headers = array_headers(archive)
    sizes = {name: math.prod(shape) * dtype.itemsize for name, (shape, dtype) in headers.items()}
    kinds = {name: dtype.kind for name, (_, dtype) in headers.items()}
    small = [name for name, size in sizes.items() if size <= _SMALL_BYTES and kinds[name] in "iufUS"]
    shapes = {name: shape for name, (shape, _) in headers.items() if kinds[name] in "iuf"}
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        stated = read_stated(path, {name: file[name] for name in small}, request)
        signals = choose_array(path, shapes, lead_count(request, stated))
        check_amount(path, math.prod(shapes[signals]))
        raw = channels_of_array(path, "NumPy", file[signals], request, stated)
    raw.notes.insert(0, f"the array '{signals}' holds the signals")
    return raw


register_format(Format("NumPy", (".npy", ".npz"), is_npy, read_npy))

"""Signals that stay as they are stored and become float32 millivolts when they are read."""

from __future__ import annotations

import hashlib
import math
import os
import weakref
from typing import Any

import numpy as np

from utils.errors import DataError
from utils.files import read_array_header


class SampleFile:
    """The int16 or float32 array of a .npy file, of which only the indexed recordings are read.

    A memory map would do the same, but every page it touched stays in the process's memory until the system
    needs it: after an epoch, all of the file. Indexing copies; threads and forked processes may share it.

    ``path``: the file, in .npy format 1.0. It stays open, so that another process may remove it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed when nobody holds this object)
        weakref.finalize(self, self._file.close)
        self.shape, by_columns, self.dtype = read_array_header(self._file)
        self._start = self._file.tell()
        size = self._start + math.prod(self.shape) * self.dtype.itemsize
        stored = self.dtype.str in ("<i2", "<f4") and not by_columns
        if not stored or os.fstat(self._file.fileno()).st_size != size:
            raise ValueError(f"{path} does not hold the int16 samples that its header describes")

    @property
    def ndim(self) -> int:
        """Dimensions, 3 for recordings."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        samples = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        file = self._file.fileno()
        for record, row in zip(samples, chosen.flat, strict=True):
            if os.preadv(file, [record], self._start + int(row) * record.nbytes) != record.nbytes:
                raise DataError(f"{self._path} has become shorter while it was in use: start again")
            self._check(int(row), record)
        return samples.reshape(*chosen.shape, *self.shape[1:])

    def _check(self, row: int, samples: np.ndarray) -> None:
        """Verify a recording that was read; here nothing is known about it."""


class ScaledSignals:
    """An array of recordings in mV over int16 or float32 samples in memory or in a file.

    Indexing is NumPy's (an int, slice, array of ints or booleans for the records, then time and lead), with
    one restriction: an array for time or lead needs a slice of records before it. It gives float32 in mV, as
    ``np.asarray`` does for all of it. Writing is not possible.

    ``samples`` (M, T, leads): the stored samples.
    ``rows``: which records, in which order; all by default.
    ``units_per_mv``: stored units of one mV.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, samples: np.ndarray | SampleFile, rows: Any = None, units_per_mv: int = 1000) -> None:
        in_mv = samples.dtype == np.float32 and units_per_mv == 1
        if not (samples.dtype == np.int16 or in_mv) or samples.ndim != 3:
            raise TypeError(
                "expected int16 samples, or float32 ones in mV, of shape (records, time, leads), got "
                f"{samples.dtype} {samples.shape}"
            )
        self._samples = samples
        self._rows = np.arange(len(samples)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.units_per_mv = units_per_mv

    @property
    def shape(self) -> tuple[int, int, int]:
        """Records, samples, leads."""
        return len(self._rows), *self._samples.shape[1:]

    @property
    def whole_numbers(self) -> bool:
        """Whether the stored samples are integers."""
        return self._samples.dtype == np.int16

    @property
    def ndim(self) -> int:
        """Always 3."""
        return 3

    def __len__(self) -> int:
        return len(self._rows)

    def raw(self, key: Any) -> np.ndarray:
        """Give stored samples."""
        chosen = self._choose(key)
        in_memory = isinstance(self._samples, np.ndarray)
        return chosen.copy() if in_memory and np.may_share_memory(chosen, self._samples) else chosen

    def _choose(self, key: Any) -> np.ndarray:
        """Stored samples, a view of them where NumPy gives one."""
        first, *rest = self._without_ellipsis(key if isinstance(key, tuple) else (key,))
        if isinstance(first, list):
            first = np.asarray(first, dtype=None if first else np.int64)
        if not isinstance(first, slice) and any(np.ndim(k) for k in rest if not isinstance(k, slice)):
            # NumPy would pair the two arrays, or move axes: neither is what anyone means here
            raise IndexError("choose records first: signals[rows][:, times]")
        rows: Any = self._rows[first]
        records = (slice(None),) * rows.ndim
        if isinstance(first, slice) and len(rows) and (np.diff(rows) == 1).all():
            rows = slice(rows[0], rows[-1] + 1)  # a view where the samples are in memory
        return np.asarray(self._samples[rows][(*records, *rest)])

    def _without_ellipsis(self, keys: tuple) -> tuple:
        """The same keys with ``...`` written out as slices."""
        if any(key is None for key in keys):
            raise IndexError("new axes are not possible here: take np.asarray first")
        positions = [position for position, key in enumerate(keys) if key is Ellipsis]
        if len(positions) > 1:
            raise IndexError("an index can only have a single ellipsis ('...')")
        if not positions:
            return keys or (slice(None),)
        whole = (slice(None),) * (self.ndim + 1 - len(keys))
        return keys[: positions[0]] + whole + keys[positions[0] + 1 :]

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.divide(self._choose(key), np.float32(self.units_per_mv), dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("scaled signals cannot become an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, indices: Any) -> ScaledSignals:
        """Choose records without reading them."""
        return ScaledSignals(self._samples, self._rows[np.asarray(indices)], self.units_per_mv)


def waveform_digest(samples: np.ndarray) -> str:
    """Fingerprint of one recording: equal samples, equal text; samples (T, leads)."""
    return hashlib.sha256(samples.data).hexdigest()[:32]

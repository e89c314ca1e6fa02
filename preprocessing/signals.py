"""Signals that stay int16 on disk and become float32 millivolts when they are asked for."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


class ScaledSignals:
    """An array of recordings in mV over int16 samples, which may lie in a memory-mapped file.

    Indexing (an int, slice, array of ints or booleans for the records, then anything NumPy takes for time and
    lead) gives float32 in mV. ``np.asarray`` gives all of it. Writing is not possible.

    Parameters
    ----------
    samples : ndarray of int16, shape (M, T, leads)
        The stored samples.
    rows : array_like of int, optional
        Which records, in which order; all by default.
    units_per_mv : int
        Stored units of one mV.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, samples: np.ndarray, rows: Any = None, units_per_mv: int = 1000) -> None:
        if samples.dtype != np.int16 or samples.ndim != 3:
            raise TypeError(
                f"expected int16 samples (records, time, leads), got {samples.dtype} {samples.shape}"
            )
        self._samples = samples
        self._rows = np.arange(len(samples)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.units_per_mv = units_per_mv

    @property
    def shape(self) -> tuple[int, int, int]:
        """Records, samples, leads."""
        return len(self._rows), *self._samples.shape[1:]

    @property
    def ndim(self) -> int:
        """Always 3."""
        return 3

    def __len__(self) -> int:
        return len(self._rows)

    def raw(self, key: Any) -> np.ndarray:
        """Give stored samples.

        Parameters
        ----------
        key : int, slice, array_like or tuple
            As for indexing.

        Returns
        -------
        ndarray of int16
            A copy, in stored units.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, list):
            first = np.asarray(first, dtype=None if first else np.int64)
        rows: Any = self._rows[first]
        one_record = rows.ndim == 0
        if isinstance(first, slice) and len(rows) and (np.diff(rows) == 1).all():
            rows = slice(rows[0], rows[-1] + 1)  # one contiguous read instead of a gather
        chosen = np.asarray(self._samples[rows])
        if rest:
            chosen = chosen[tuple(rest) if one_record else (slice(None), *rest)]
        return np.array(chosen)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.divide(self.raw(key), np.float32(self.units_per_mv), dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("scaled signals cannot become an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, indices: Any) -> ScaledSignals:
        """Choose records without reading them.

        Parameters
        ----------
        indices : array_like of int or bool
            Which records, in which order.

        Returns
        -------
        ScaledSignals
            The same stored samples, other rows.
        """
        return ScaledSignals(self._samples, self._rows[np.asarray(indices)], self.units_per_mv)


def waveform_digest(samples: np.ndarray) -> str:
    """Fingerprint of one recording: equal samples, equal text.

    Parameters
    ----------
    samples : ndarray, shape (T, leads)
        The samples as stored; C-contiguous.

    Returns
    -------
    str
        32 hexadecimal digits (the first half of the SHA-256).
    """
    return hashlib.sha256(samples.data).hexdigest()[:32]

"""Amplitude of each lead, measured in short windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from utils.errors import DataError


def amplitude(signals: Any, fs: float, window: float = 0.2, *, channels_first: bool = False) -> Any:
    """Largest peak-to-peak amplitude in half-overlapping windows.

    Unlike the range of a whole record, it is that of a QRS complex even where the baseline wanders.

    Parameters
    ----------
    signals : ndarray or torch.Tensor, shape (..., T, leads)
        Any unit.
    fs : float
        Sampling rate in Hz.
    window : float
        Seconds.
    channels_first : bool
        Signals are (..., leads, T).

    Returns
    -------
    ndarray or torch.Tensor, shape (..., leads)
        In the unit of the signals, on their device.

    Raises
    ------
    DataError
        The signals have no samples.
    """
    xp = array_namespace(signals)
    axis = signals.ndim - 1 if channels_first else signals.ndim - 2
    samples = signals.shape[axis]
    if not samples:
        raise DataError(f"signals of shape {tuple(signals.shape)} have no samples: leave the records out")
    half = min(max(1, int(window * fs) // 2), samples)
    before, after = tuple(signals.shape[:axis]), tuple(signals.shape[axis + 1 :])
    blocks = samples // half
    # What is left at the end is in a last block of full length.
    shapes = ((0, blocks * half, (blocks, half)), (samples - half, samples, (1, half)))
    parts = [
        xp.reshape(_part(signals, axis, start, stop), (*before, *shape, *after))
        for start, stop, shape in shapes
    ]
    high, low = (
        xp.concat([_reduced(choose, part, axis + 1) for part in parts], axis=axis)
        for choose in (xp.maximum, xp.minimum)
    )
    high = xp.maximum(_part(high, axis, 0, blocks), _part(high, axis, 1, blocks + 1))
    low = xp.minimum(_part(low, axis, 0, blocks), _part(low, axis, 1, blocks + 1))
    return xp.max(high - low, axis=axis)


def _part(array: Any, axis: int, start: int, stop: int) -> Any:
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _reduced(choose: Callable[[Any, Any], Any], array: Any, axis: int) -> Any:
    """Reduce an axis by halves: long rows are several times as fast as many short reductions."""
    while array.shape[axis] > 1:
        length = array.shape[axis]
        half = (length + 1) // 2  # the halves of an odd length share a sample
        array = choose(_part(array, axis, 0, half), _part(array, axis, length - half, length))
    return array[(slice(None),) * axis + (0,)]

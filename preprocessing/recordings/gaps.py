"""Missing samples (NaN) of signals that are resampled."""

from __future__ import annotations

import numpy as np

from preprocessing.transforms.resample import resample

LARGEST = 1e30  # squares of larger numbers overflow as infinity does


def is_missing(values: np.ndarray) -> np.ndarray:
    """Mask of values that are not usable numbers."""
    return ~(np.abs(values) < LARGEST)


def hold(values: np.ndarray) -> np.ndarray:
    """Fill gaps with the number before them, at the beginning with the one after.

    Shapes: values (T,) or (T, channels).
    """
    missing = is_missing(values)
    if not missing.any():
        return values
    columns = np.where(missing, np.nan, values).reshape(len(values), -1)
    steps = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(columns), -1, steps), axis=0)
    first = np.argmax(~np.isnan(columns), axis=0)
    held = np.take_along_axis(columns, np.where(last < 0, first, last), axis=0)
    return np.nan_to_num(held, nan=0.0).reshape(values.shape)


def resample_with_gaps(values: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    """Resample a signal, shape (T,); what was missing is NaN again."""
    result = resample(hold(values), source_rate, target_rate)
    places = np.minimum(
        (np.arange(len(result)) * source_rate / target_rate).astype(np.int64), len(values) - 1
    )
    result[is_missing(values)[places]] = np.nan
    return result

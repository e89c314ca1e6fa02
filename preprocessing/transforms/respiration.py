"""Respiration from the electrocardiogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocessing.transforms.preprocessor import as_array, check_finite
from utils.errors import DataError, UsageError


def ecg_derived_respiration(
    signal: Any, fs: float, rpeaks: Any, window: float = 0.04, target_rate: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Respiration as the change of the area of the QRS complexes.

    Breathing turns the heart's axis against the electrodes; the area under each QRS complex of a lead without
    baseline wander follows it (Moody et al., Computers in Cardiology 12, 113-116 (1985)).

    Parameters
    ----------
    signal : array_like, shape (T,)
        One lead in mV, its baseline removed.
    fs : float
        Sampling rate in Hz.
    rpeaks : array_like of int, shape (beats,)
        Samples of the R peaks, ascending.
    window : float
        Seconds before and after each R peak.
    target_rate : float, optional
        Give the values at this rate in Hz, interpolated by a cubic spline, instead of one for each beat.

    Returns
    -------
    times : ndarray, shape (beats,) or (n,)
        Seconds.
    values : ndarray, shape (beats,) or (n,)
        Areas in standard deviations from their mean (0 where all are equal).

    Raises
    ------
    DataError
        The signal holds NaN or infinity, or R peaks are not samples of it in ascending order.
    UsageError
        There is no such window or rate, or fewer than four beats to interpolate.
    """
    lead = as_array(signal)[0].astype(np.float64)
    peaks = np.asarray(rpeaks)
    if lead.ndim != 1:
        raise DataError(f"a signal of shape {lead.shape} is not one lead: pass shape (T,)")
    check_finite(lead[None], "ecg_derived_respiration")
    if not (0 < fs < np.inf and window > 0) or (target_rate is not None and not 0 < target_rate < np.inf):
        raise UsageError("ecg_derived_respiration: fs, window and target_rate must be above 0")
    if not peaks.size:
        return np.zeros(0), np.zeros(0)
    inside = peaks.ndim == 1 and peaks.dtype.kind in "iu" and peaks[0] >= 0 and peaks[-1] < len(lead)
    if not inside or (np.diff(peaks.astype(np.int64)) <= 0).any():
        raise DataError(f"rpeaks must be ascending sample numbers below {len(lead)}")
    reach = int(window * fs)
    sums = np.concatenate(([0.0], np.cumsum(lead)))
    first, last = np.maximum(peaks - reach, 0), np.minimum(peaks + reach + 1, len(lead))
    areas = (sums[last] - sums[first]) / (last - first)
    spread = areas.std()
    values = (areas - areas.mean()) / spread if spread > 1e-12 else np.zeros(len(areas))
    times = peaks / fs
    if target_rate is None:
        return times, values
    if len(peaks) < 4:
        raise UsageError(f"{len(peaks)} beats are too few to interpolate respiration: it takes 4")
    from scipy.interpolate import CubicSpline

    regular = np.arange(np.ceil(times[0] * target_rate), times[-1] * target_rate + 1e-9) / target_rate
    return regular, CubicSpline(times, values)(regular)

"""R-peaks of one or several leads."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, median_filter
from scipy.stats import skew

from preprocessing.rpeaks.detectors import Detector, get_detector
from preprocessing.transforms.resample import resample
from utils.errors import DataError, UsageError

SHORTEST_S = 2.0  # two beats at 60 bpm; the detectors learn their thresholds from the first seconds
REFRACTORY_S = 0.2


def detect_rpeaks(
    signal: np.ndarray,
    rate: float,
    detector: str = "xqrs",
    *,
    correct: float = 0.1,
    agreement: float = 0.5,
    tolerance: float = 0.05,
) -> np.ndarray:
    """Find the R-peaks of an ECG.

    Each lead is searched for itself. A peak moves to the extremum near it, upward or downward, whichever
    the QRS complexes of that lead mostly are. Peaks of several leads are one beat where at least
    ``agreement`` of the leads have one within ``tolerance``; its position is their median. Stretches of NaN
    are bridged by a line and hold no peaks.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (T,) or (T, leads), in mV; at least 2 s.
    rate : float
        Sampling rate in Hz.
    detector : str, optional
        One of `list_detectors`.
    correct : float, optional
        Largest way to the extremum in seconds; 0 leaves the peaks where the detector puts them.
    agreement : float, optional
        Share of the leads, above 0, at most 1. Leads without any value do not count.
    tolerance : float, optional
        In seconds.

    Returns
    -------
    numpy.ndarray
        Sample numbers, int64, ascending.

    Raises
    ------
    DataError
        If the signal is shorter than 2 s or has no finite value.
    UsageError
        If an argument is outside its range, or the detector unknown.
    """
    method = get_detector(detector)
    values = np.asarray(signal, np.float64)
    if values.ndim not in (1, 2):
        raise UsageError(f"detect_rpeaks takes a signal (T,) or (T, leads), not of shape {values.shape}")
    if not (np.isfinite(rate) and rate > 0):
        raise UsageError(f"sampling rate {rate}: must be a positive number of Hz")
    if not 0 < agreement <= 1:
        raise UsageError(f"agreement {agreement:g}: must be above 0 and at most 1")
    if len(values) < SHORTEST_S * rate:
        raise DataError(f"{len(values)} samples at {rate:g} Hz: R-peaks need at least {SHORTEST_S:g} s")
    leads = values.reshape(len(values), -1).T
    leads = leads[np.isfinite(leads).any(axis=1)]
    if len(leads) == 0:
        raise DataError("the signal has no finite value")
    peaks = [_detect_lead(lead, rate, method, correct) for lead in leads]
    return peaks[0] if len(peaks) == 1 else _merge(peaks, agreement, tolerance * rate)


def _detect_lead(lead: np.ndarray, rate: float, method: Detector, correct: float) -> np.ndarray:
    finite = np.isfinite(lead)
    if not finite.all():
        lead = np.interp(np.arange(len(lead)), np.flatnonzero(finite), lead[finite])
    if np.ptp(lead) == 0:
        return np.empty(0, np.int64)
    nearest_rate = float(np.clip(rate, *method.rates))
    resampled = lead if nearest_rate == rate else resample(lead, rate, nearest_rate)
    if method.upright and skew(resampled - median_filter(resampled, round(0.6 * nearest_rate))) < 0:
        resampled = -resampled
    peaks = np.asarray(method.find(np.ascontiguousarray(resampled), nearest_rate), np.float64)
    peaks = np.unique(np.round(peaks[np.isfinite(peaks)] * rate / nearest_rate).astype(np.int64))
    peaks = peaks[(peaks >= 0) & (peaks < len(lead))]
    if correct > 0 and len(peaks):
        peaks = _move_to_extremum(lead, peaks, round(correct * rate), round(REFRACTORY_S * rate))
    return peaks[finite[peaks]]


def _move_to_extremum(lead: np.ndarray, peaks: np.ndarray, reach: int, refractory: int) -> np.ndarray:
    """Move peaks to the largest deviation within ``reach`` samples; of two that meet one remains."""
    offsets = np.arange(-reach, reach + 1)
    windows = lead[np.clip(peaks[:, None] + offsets, 0, len(lead) - 1)]
    around = lead[np.clip(peaks[:, None] + np.arange(-3 * reach, 3 * reach + 1), 0, len(lead) - 1)]
    deviations = windows - np.median(around, axis=1, keepdims=True)
    upward = np.median(deviations.max(axis=1) + deviations.min(axis=1)) >= 0
    moved = np.clip(
        peaks + offsets[np.argmax(deviations if upward else -deviations, axis=1)], 0, len(lead) - 1
    )
    moved = np.unique(moved)
    height = np.abs(lead[moved] - np.median(lead))
    spikes = np.zeros(len(lead))
    spikes[moved] = height + np.finfo(float).tiny
    highest = maximum_filter1d(spikes, 2 * (refractory // 2) + 1, mode="constant")
    return moved[spikes[moved] == highest[moved]]


def _merge(peaks: list[np.ndarray], agreement: float, tolerance: float) -> np.ndarray:
    """Beats on which enough leads agree: chains of peaks, each within ``tolerance`` of the last."""
    positions = np.concatenate(peaks)
    leads = np.repeat(np.arange(len(peaks)), [len(lead) for lead in peaks])
    order = np.argsort(positions, kind="stable")
    positions, leads = positions[order], leads[order]
    groups = np.cumsum(np.diff(positions, prepend=positions[:1]) > tolerance)
    needed = agreement * len(peaks)
    beats = [
        round(float(np.median(positions[groups == group])))
        for group in np.unique(groups)
        if len(np.unique(leads[groups == group])) >= needed
    ]
    return np.asarray(beats, np.int64)

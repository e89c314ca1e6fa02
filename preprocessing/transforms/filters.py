"""Filters over the time axis of whole batches of recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.errors import DataError, UsageError

LOWEST_MAINS_HZ = 20.0


def mains_frequencies(sampling_rate: float) -> dict[int, float]:
    """Where 50 and 60 Hz appear at a sampling rate, in Hz, as far as they can be told from an ECG."""
    apparent = {mains: abs(mains - sampling_rate * round(mains / sampling_rate)) for mains in (50, 60)}
    return {mains: place for mains, place in apparent.items() if place >= LOWEST_MAINS_HZ}


def moving_mean(signals: np.ndarray, window: int) -> np.ndarray:
    """Centered mean over time; the ends are extended by their last value."""
    before = window // 2
    # np.pad takes longer than all the rest
    total = np.empty((len(signals) + window, signals.shape[1]), np.result_type(signals, np.float32))
    total[: before + 1], total[before + 1 : before + 1 + len(signals)] = signals[0], signals
    total[before + 1 + len(signals) :] = signals[-1]
    np.cumsum(total, axis=0, out=total)
    return (total[window:] - total[:-window]) / window


def remove_baseline(signals_mv: Any, sampling_rate: float, cutoff: float = 0.5, order: int = 1) -> np.ndarray:
    """Take out baseline wander with a zero-phase Butterworth high-pass.

    The filter runs forwards and backwards, so no wave is shifted, and the gain at `cutoff` is one half.
    Every lead of every record is filtered by itself and in float64: the result for a record does not depend,
    bit for bit, on what else is in the batch. The ends are extended by point reflection (scipy's default
    for ``filtfilt``); what drift leaves there fades with the time constant, 0.3 s for 0.5 Hz.

    0.5 Hz lies below the 0.67 Hz that Kligfield et al. (2007,
    https://doi.org/10.1161/CIRCULATIONAHA.106.180200) allow for filters without phase distortion.

    Shapes: signals_mv (..., T, leads) -> (..., T, leads), float64.
    """
    # Half a second of import, which only those who filter should wait for.
    from scipy.signal import butter, sosfiltfilt

    if not 0 < cutoff < sampling_rate / 2 or order < 1:
        raise UsageError(
            f"no high-pass of order {order} with cut-off {cutoff:g} Hz at {sampling_rate:g} Hz: the cut-off "
            "must lie above 0 and below half the sampling rate, the order be 1 or more"
        )
    signals = np.asarray(signals_mv, dtype=np.float64)
    if signals.ndim < 2:
        raise DataError(f"signals of shape {signals.shape} have no time axis: expected (..., T, leads)")
    padding = 3 * (order + 1)
    if signals.shape[-2] <= padding:
        raise DataError(
            f"records of {signals.shape[-2]} samples are too short for the baseline filter: it needs more "
            f"than {padding}; leave the filter out or use longer records"
        )
    bad = ~np.isfinite(signals).all(axis=-2)
    if bad.any():
        *record, lead = np.argwhere(bad)[0].tolist()
        where = f"record {', '.join(map(str, record))}, " if record else ""
        raise DataError(
            f"{where}lead {lead} (both counted from 0): NaN or infinite samples cannot be filtered; "
            "repair or drop the record"
        )
    # Second-order sections: a polynomial of higher order loses its digits at cut-offs this low.
    sections = butter(order, cutoff, "highpass", fs=sampling_rate, output="sos")
    return sosfiltfilt(sections, signals, axis=-2, padlen=padding)


def remove_mains(signals_mv: np.ndarray, sampling_rate: float, mains: int) -> np.ndarray:
    """Take out a mains frequency, 2 Hz wide and without delay, where it appears at this sampling rate.

    Shapes: signals_mv (T, leads) -> (T, leads).
    """
    from scipy.signal import iirnotch, sosfiltfilt, tf2sos

    place = mains_frequencies(sampling_rate).get(mains)
    if place is None:
        raise UsageError(
            f"--notch {mains}: at {sampling_rate:g} Hz mains cannot be told from the ECG; leave it out"
        )
    signals = np.asarray(signals_mv, dtype=np.float64)
    if sampling_rate / 2 - place < 1:
        # Half the rate becomes 0 Hz when every second sample is turned over.
        turn = (-1.0) ** np.arange(len(signals))[:, None]
        return turn * remove_baseline(turn * signals, sampling_rate, cutoff=1)
    notch = tf2sos(*iirnotch(place, place / 2, fs=sampling_rate))
    return np.asarray(sosfiltfilt(notch, signals, axis=0))

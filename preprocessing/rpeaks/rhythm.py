"""Intervals between R-peaks, heart rate and its variability."""

from __future__ import annotations

import numpy as np
import pandas as pd

from utils.errors import DataError

PLAUSIBLE_MS = (250.0, 2500.0)  # 240 to 24 beats a minute


def rr_intervals(peaks: np.ndarray, rate: float) -> pd.DataFrame:
    """Table of the intervals between R-peaks.

    Parameters
    ----------
    peaks : numpy.ndarray
        Sample numbers of the R-peaks, ascending.
    rate : float
        Sampling rate in Hz.

    Returns
    -------
    pandas.DataFrame
        One row for each interval: ``start_s`` (its first peak), ``rr_ms``, ``heart_rate`` (per minute) and
        ``plausible`` (250 to 2,500 ms; a longer one is a pause or a missed beat).

    Raises
    ------
    DataError
        If the peaks are not ascending.
    """
    peaks = np.asarray(peaks)
    rr = np.diff(peaks) / rate * 1000
    if (rr <= 0).any():
        raise DataError(f"R-peaks must be ascending: {peaks[np.argmin(rr) : np.argmin(rr) + 2].tolist()}")
    plausible = (rr >= PLAUSIBLE_MS[0]) & (rr <= PLAUSIBLE_MS[1])
    columns = {"start_s": peaks[:-1] / rate, "rr_ms": rr, "heart_rate": 60_000 / rr, "plausible": plausible}
    return pd.DataFrame(columns)


def heart_rate_variability(peaks: np.ndarray, rate: float) -> dict[str, float]:
    """Heart rate and time-domain variability, from the plausible intervals.

    Parameters
    ----------
    peaks : numpy.ndarray
        Sample numbers of the R-peaks, ascending. All beats count; leave out ectopic ones for NN statistics.
    rate : float
        Sampling rate in Hz.

    Returns
    -------
    dict of str to float
        ``intervals`` (number), ``heart_rate`` (per minute, from the mean interval), ``mean_rr_ms``,
        ``sdnn_ms`` (standard deviation, n - 1), ``rmssd_ms`` and ``pnn50`` (share in %) over differences of
        consecutive plausible intervals; NaN where there are too few.

    References
    ----------
    Task Force of the ESC and NASPE, Heart rate variability, Circulation 93, 1043 (1996),
    doi:10.1161/01.CIR.93.5.1043.
    """
    table = rr_intervals(peaks, rate)
    rr, plausible = table["rr_ms"].to_numpy(), table["plausible"].to_numpy()
    steps = np.diff(rr)[plausible[1:] & plausible[:-1]]
    kept = rr[plausible]
    mean = float(kept.mean()) if len(kept) else float("nan")
    return {
        "intervals": float(len(kept)),
        "heart_rate": 60_000 / mean,
        "mean_rr_ms": mean,
        "sdnn_ms": float(kept.std(ddof=1)) if len(kept) > 1 else float("nan"),
        "rmssd_ms": float(np.sqrt(np.mean(steps**2))) if len(steps) else float("nan"),
        "pnn50": float(100 * np.mean(np.abs(steps) > 50)) if len(steps) else float("nan"),
    }

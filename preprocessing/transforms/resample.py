"""Change of sampling rate with an anti-aliasing filter."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

# Rates such as 499.97 Hz, read off a time column, have no small ratio to the target; this is fine enough
# that 10 s drift by less than a hundredth of a sample, and keeps the filter below a million taps.
_LARGEST_DENOMINATOR = 10_000


def ratio(source_rate: float, target_rate: float) -> Fraction:
    """Ratio of two sampling rates as up- and downsampling factors.

    Parameters
    ----------
    source_rate : float
        Rate of the signal, in Hz.
    target_rate : float
        Target rate, in Hz.

    Returns
    -------
    fractions.Fraction
        ``up / down``: exact for rates with a small common ratio, else correct to about 1e-8.
    """
    exact = Fraction(target_rate).limit_denominator(1_000_000) / Fraction(source_rate).limit_denominator(
        1_000_000
    )
    return exact.limit_denominator(_LARGEST_DENOMINATOR)


def resample(signals: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    """Resample along time with a linear-phase FIR that removes what the new rate cannot hold.

    The filter is scipy's polyphase default (Kaiser window, beta 5, 6 dB down at the lower Nyquist frequency).
    The line from the first to the last sample is taken out before filtering and put back afterwards, so the
    ends do not ring against an assumed zero. No delay is added: PTB-XL's own 100 Hz files, made with another
    filter, lie 1.25 ms (an eighth of a sample) ahead of this and differ by 5 uV RMS once that is taken out.

    Parameters
    ----------
    signals : ndarray, shape (T,) or (T, channels)
        Signals, any unit.
    source_rate : float
        Their sampling rate in Hz.
    target_rate : float
        Target rate in Hz.

    Returns
    -------
    ndarray, shape (ceil(T * target_rate / source_rate),) or the same with channels
        Resampled signals, float64; sample k lies at k / target_rate seconds.
    """
    from scipy.signal import resample_poly  # half a second that nothing else pays

    signals = np.asarray(signals, dtype=np.float64)
    factor = ratio(source_rate, target_rate)
    if factor == 1:
        return signals.copy()
    # The line itself, and with it any offset, comes through exactly; the filter would ripple it by 1e-4.
    first, slope = signals[0], (signals[-1] - signals[0]) / max(len(signals) - 1, 1)
    line = np.multiply.outer(np.arange(len(signals)), slope) + first
    result = resample_poly(signals - line, factor.numerator, factor.denominator, axis=0)
    return result + np.multiply.outer(np.arange(len(result)) / float(factor), slope) + first

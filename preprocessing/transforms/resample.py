"""Change of sampling rate with an anti-aliasing filter."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

# Rates such as 499.97 Hz, read off a time column, have no small ratio to the target; this is fine enough
# that 10 s drift by less than a hundredth of a sample, and keeps the filter below a million taps.
_LARGEST_DENOMINATOR = 10_000


def ratio(source_rate: float, target_rate: float) -> Fraction:
    """Ratio of two rates as ``up / down``: exact where they have a small common one, else to about 1e-8."""
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

    Shapes: signals (T,) or (T, channels) -> (ceil(T * target_rate / source_rate), ...), float64.
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

"""What calipers read: intervals, rates, voltages and corrected QT."""

from __future__ import annotations

import math

from utils.errors import UsageError

FORMULAS = ("Bazett", "Fridericia")
_EXPONENTS = {"Bazett": 1 / 2, "Fridericia": 1 / 3}


def beats_per_minute(milliseconds: float) -> float:
    """Heart rate of an RR interval; infinite for none."""
    return math.inf if milliseconds == 0 else 60_000 / abs(milliseconds)


def corrected_qt(qt_ms: float, rr_ms: float, formula: str = "Bazett") -> float:
    """QT interval in ms, corrected for the heart rate.

    Bazett 1920 (QT / RR^1/2; reprinted, doi:10.1111/j.1542-474X.1997.tb00325.x) and Fridericia 1920
    (QT / RR^1/3; reprinted, doi:10.1046/j.1542-474X.2003.08413.x), RR in seconds.
    """
    if formula not in _EXPONENTS:
        raise UsageError(f"unknown formula '{formula}': use {' or '.join(FORMULAS)}")
    if not (qt_ms > 0 and rr_ms > 0):
        raise UsageError(f"QT and RR must be positive, got {qt_ms:g} ms and {rr_ms:g} ms")
    return qt_ms / (rr_ms / 1000) ** _EXPONENTS[formula]


def interval(first_sample: float, second_sample: float, sampling_rate: float) -> float:
    """Milliseconds between two samples, without sign."""
    return abs(second_sample - first_sample) / sampling_rate * 1000

"""Whether a recording may run too slowly or too fast, because its sampling rate is not what the file says.

The rate of the beats and the steepness of the QRS complexes change together then. Their combination was
chosen on a fifth of PTB-XL; `python -m benchmarks quality` measures it (docs/results/quality.md).
"""

from __future__ import annotations

import math

import numpy as np

from preprocessing.recordings.electrodes import RATE, Beats

_NEAR = 8  # samples before and after the steepest place of a QRS complex
_WEIGHT = 1.6  # of the steepness beside the interval, both as logarithms
SLOW, FAST = 0.9, -1.35  # at half the speed q grows by 1.3 on average, at twice the speed it falls by 1.1
LONGEST_SECONDS = 2.2  # between beats, where the recording is too slow for its steepness to be told


def seconds_between(beats: Beats) -> float | None:
    """Median time between two beats; None where there are fewer than three."""
    return float(np.median(np.diff(beats.peaks))) / RATE if len(beats.peaks) > 2 else None


def time_scale(beats: Beats) -> float | None:
    """Logarithm of the time between beats less that of the steepness of QRS complexes; None without beats."""
    seconds = seconds_between(beats)
    if seconds is None:
        return None
    near = np.zeros(len(beats.signals), dtype=bool)
    for peak in beats.peaks:
        near[max(0, peak - _NEAR) : peak + _NEAR] = True
    slope = np.diff(beats.signals, axis=0)
    first = (slope[near[1:]] ** 2).sum()
    second = (np.diff(slope, axis=0)[near[2:]] ** 2).sum()
    if not first > 0 or not second > 0:
        return None
    return math.log(seconds) - _WEIGHT * math.log(second / first) / 2


def doubtful_rate(beats: Beats, sampling_rate: float) -> str:
    """Why the sampling rate (Hz) that a recording was read with may be wrong; empty where nothing says so."""
    seconds, scale = seconds_between(beats), time_scale(beats)
    if seconds is None or scale is None:
        return ""
    steepness_is_known = sampling_rate >= 0.8 * RATE
    if seconds > LONGEST_SECONDS or (steepness_is_known and scale > SLOW):
        which = "slow, as where the true rate is higher"
    elif steepness_is_known and scale < FAST:
        which = "fast, as where the true rate is lower"
    else:
        return ""
    return (
        f"the sampling rate of {sampling_rate:g} Hz may be wrong: with it there are {60 / seconds:.0f} beats "
        f"a minute, whose QRS complexes are {which}"
    )

"""Change of sampling rate with an anti-aliasing filter."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor
from utils.errors import UsageError

# Rates such as 499.97 Hz, read off a time column, have no small ratio to the target; this is fine enough
# that 10 s drift by less than a hundredth of a sample, and keeps the filter below a million taps.
_LARGEST_DENOMINATOR = 10_000
_BLOCK = 16  # output samples of a row of the matrix product, at least
_WIDEST_BLOCK = 64
_LONG_SECONDS, _MARGIN_SECONDS = 600, 60


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
    signals = np.asarray(signals, dtype=np.float64)
    factor = ratio(source_rate, target_rate)
    if factor == 1:
        return signals.copy()
    return resample_by(np.ascontiguousarray(signals.T), factor).T


def neighborhood(samples: int, source_rate: float, target_rate: float, part: slice) -> tuple[slice, int]:
    """Samples of a long signal that matter for a part of it, and which sample their result begins with.

    All of a signal up to ten minutes, so that the line that `resample` takes out is that of the whole; else a
    minute before and after, which is longer than the filter, in whole periods of both rates.
    """
    if samples <= _LONG_SECONDS * source_rate:
        return slice(0, samples), 0
    factor, margin = ratio(source_rate, target_rate), round(_MARGIN_SECONDS * source_rate)
    periods = max(0, part.start - margin) // factor.denominator
    return slice(periods * factor.denominator, min(samples, part.stop + margin)), periods * factor.numerator


def resample_by(signals: np.ndarray, factor: Fraction) -> np.ndarray:
    """Resample the last axis by a ratio, in float64.

    Shapes: signals (..., T) -> (..., ceil(T * factor)), in the type of the signals.
    """
    # The line itself, and with it any offset, comes through exactly; the filter would ripple it by 1e-4.
    rows = signals.reshape(-1, signals.shape[-1])
    samples, length = rows.shape[1], -(-rows.shape[1] * factor.numerator // factor.denominator)
    times, new_times = np.arange(samples), np.arange(length) / float(factor)
    result = np.empty((len(rows), length), signals.dtype)
    # Row by row: small arrays, and numbers that depend neither on the other leads nor on the batch.
    for row, resampled in zip(rows.astype(np.float64, copy=False), result, strict=True):
        first, slope = row[0], (row[-1] - row[0]) / max(samples - 1, 1)
        resampled[:] = _filtered(row - (times * slope + first), factor) + new_times * slope + first
    return result.reshape(*signals.shape[:-1], length)


@functools.lru_cache(maxsize=32)
def _taps(up: int, down: int) -> np.ndarray:
    """The filter that `scipy.signal.resample_poly` designs for each call."""
    from scipy.signal import firwin

    widest = max(up, down)
    return firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))


@functools.lru_cache(maxsize=32)
def _matrix(up: int, down: int) -> tuple[np.ndarray, int]:
    """Matrix from a window of input samples to a block of output samples, and where the window begins."""
    taps = _taps(up, down) * up
    half, outputs = len(taps) // 2, up * -(-_BLOCK // up)
    begin, end = -(half // up), ((outputs - 1) * down + half) // up
    position = half + np.arange(outputs) * down - np.arange(begin, end + 1)[:, None] * up
    inside = (position >= 0) & (position < len(taps))
    return np.where(inside, taps[np.clip(position, 0, len(taps) - 1)], 0.0), begin


def _filtered(signal: np.ndarray, factor: Fraction) -> np.ndarray:
    """`scipy.signal.resample_poly`, to rounding.

    Shapes: signal (T,) -> (ceil(T * factor),).
    """
    up, down = factor.numerator, factor.denominator
    length = -(-len(signal) * up // down)
    if max(up, down) > _WIDEST_BLOCK or length < _BLOCK:
        from scipy.signal import resample_poly  # half a second that nothing else pays

        return resample_poly(signal, up, down, window=_taps(up, down))
    # As a product of overlapping windows with a small matrix it takes a third of the time.
    matrix, begin = _matrix(up, down)
    window, outputs = matrix.shape
    blocks = -(-length // outputs)
    step = outputs * down // up
    padded = np.zeros((blocks - 1) * step + window)
    padded[-begin : len(signal) - begin] = signal[: len(padded) + begin]
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[::step]
    return (np.ascontiguousarray(windows) @ matrix).ravel()[:length]


@register_preprocessor("resample")
@dataclass(frozen=True)
class Resample(Preprocessor):
    """Resample to a rate or to a length.

    ``fs``: Hz. ``siglen``: samples. One of the two.
    ``method``: ``polyphase`` (`resample`), or ``fourier``, which takes the record as periodic.
    """

    keeps_shape: ClassVar[bool] = False
    remedy: ClassVar[str] = "--sampling_rate resamples records as they are read"

    fs: float | None = None
    siglen: int | None = None
    method: str = "polyphase"

    def __post_init__(self) -> None:
        self.number("fs", above=0, none=True)
        self.number("siglen", least=1, whole=True, none=True)
        self.one_of("method", ("polyphase", "fourier"))
        if (self.fs is None) == (self.siglen is None):
            raise UsageError("resample: give either fs or siglen")

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Resample.

        Shapes: signals (..., leads, T) -> (..., leads, T').
        """
        samples = signals.shape[-1]
        if self.fs is not None:
            factor, target = ratio(rate, self.fs), self.fs
        else:
            assert self.siglen is not None
            factor = Fraction(self.siglen, samples)
            target = float(Fraction(rate).limit_denominator(1_000_000) * factor)
            target = int(target) if target.is_integer() else target
        if factor == 1:
            return signals.copy(), target
        if self.method == "fourier":
            from scipy.signal import resample as resample_fourier

            return resample_fourier(
                signals, -(-samples * factor.numerator // factor.denominator), axis=-1
            ), target
        return resample_by(signals, factor), target

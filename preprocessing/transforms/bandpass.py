"""Bandpass, low-pass and high-pass filters without phase shift."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor
from utils.errors import DataError, UsageError


@register_preprocessor("bandpass")
@dataclass(frozen=True)
class BandPass(Preprocessor):
    """Filter forwards and backwards.

    ``lowcut``, ``highcut``: Hz; None, 0 or infinity leaves that side open.
    ``filter_type``: ``butter`` (Butterworth, in second-order sections) or ``fir`` (Hamming window).
    ``filter_order``: default 0.01 (``butter``) or 0.2 (``fir``, made even) times the sampling rate.
    """

    lowcut: float | None = 0.5
    highcut: float | None = 45.0
    filter_type: str = "butter"
    filter_order: int | None = None

    def __post_init__(self) -> None:
        self.number("lowcut", least=0, none=True)
        if self.highcut == np.inf:
            object.__setattr__(self, "highcut", None)
        self.number("highcut", least=0, none=True)
        self.number("filter_order", least=1, whole=True, none=True)
        self.one_of("filter_type", ("butter", "fir"))
        if not (self.lowcut or self.highcut):
            raise UsageError("bandpass: give lowcut, highcut or both")
        if self.lowcut and self.highcut and self.lowcut >= self.highcut:
            raise UsageError(
                f"bandpass: lowcut {self.lowcut:g} Hz must lie below highcut {self.highcut:g} Hz"
            )

    def _check_rate(self, rate: float) -> None:
        for name in ("lowcut", "highcut"):
            cutoff = getattr(self, name)
            if cutoff and cutoff >= rate / 2:
                raise UsageError(
                    f"bandpass: no stable filter with {name} {cutoff:g} Hz at {rate:g} Hz: it must lie "
                    f"below half the sampling rate, {rate / 2:g} Hz; choose another "
                    f"{name}, or null (None) to leave that side open"
                )

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Filter each lead.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        self._check_rate(rate)
        low, high = self.lowcut or None, self.highcut or None
        wide = signals.astype(np.float64, copy=False)
        if self.filter_type == "butter":
            order = self.filter_order or max(1, round(0.01 * rate))
            return _zero_phase(wide, *_sections(low, high, order, rate)), rate
        order = self.filter_order or int(0.2 * rate)
        kernel = _fir_kernel(low, high, max(2, order + order % 2), rate)
        padded = _extended(wide, len(kernel) // 2)
        return _convolved(padded, kernel), rate


def _kind(low: float | None, high: float | None) -> tuple[str, float | tuple[float, float]]:
    if low is None:
        assert high is not None
        return "lowpass", high
    return ("highpass", low) if high is None else ("bandpass", (low, high))


@functools.lru_cache(maxsize=64)
def _sections(
    low: float | None, high: float | None, order: int, rate: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Second-order sections, their state for a constant input, and how far the ends are extended."""
    from scipy.signal import butter, sosfilt_zi

    kind, cutoff = _kind(low, high)
    # A polynomial of this order loses its digits: it gives NaN from 1000 Hz on.
    sections = butter(order, cutoff, kind, fs=rate, output="sos")
    poles = np.concatenate([np.roots(section[3:]) for section in sections])
    if not np.isfinite(sections).all() or np.abs(poles).max() >= 1:
        raise UsageError(
            f"bandpass: the Butterworth filter of order {order} ({kind}, {cutoff} Hz) is not stable at "
            f"{rate:g} Hz: use a lower filter_order, a higher lowcut or filter_type fir"
        )
    first_order = int(min((sections[:, 2] == 0).sum(), (sections[:, 5] == 0).sum()))
    return sections, sosfilt_zi(sections), 3 * (2 * len(sections) + 1 - first_order)


def _zero_phase(signals: np.ndarray, sections: np.ndarray, state: np.ndarray, padding: int) -> np.ndarray:
    """`scipy.signal.sosfiltfilt`, whose numbers it gives, without designing the state for each record."""
    from scipy.signal import sosfilt

    padded = _extended(signals, padding)
    state = state.reshape(len(sections), *(1,) * (signals.ndim - 1), 2)
    forward, _ = sosfilt(sections, padded, zi=state * padded[..., :1])
    backward = forward[..., ::-1]
    result, _ = sosfilt(sections, backward, zi=state * backward[..., :1])
    return result[..., ::-1][..., padding:-padding]


@functools.lru_cache(maxsize=64)
def _fir_kernel(low: float | None, high: float | None, order: int, rate: float) -> np.ndarray:
    """Kernel of a pass forwards and one backwards: the filter convolved with itself reversed."""
    from scipy.signal import firwin

    kind, cutoff = _kind(low, high)
    taps = firwin(order + 1, cutoff, pass_zero=kind, fs=rate, window="hamming")
    return np.convolve(taps, taps[::-1])


def _convolved(padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    from scipy.signal import oaconvolve

    # Lead by lead: the numbers of a record must not depend on what else is in the batch.
    rows = padded.reshape(-1, padded.shape[-1])
    result = np.stack([oaconvolve(row, kernel, mode="valid") for row in rows])
    return result.reshape(*padded.shape[:-1], -1)


def _extended(signals: np.ndarray, padding: int) -> np.ndarray:
    """Extend the ends by point reflection.

    Shapes: signals (..., T) -> (..., T + 2 * padding).
    """
    if signals.shape[-1] <= padding:
        raise DataError(
            f"bandpass: records of {signals.shape[-1]} samples are too short, it needs more than {padding}: "
            "use longer records or a lower filter_order"
        )
    first, last = signals[..., :1], signals[..., -1:]
    left = 2 * first - signals[..., padding:0:-1]
    right = 2 * last - signals[..., -2 : -padding - 2 : -1]
    return np.concatenate((left, signals, right), axis=-1)

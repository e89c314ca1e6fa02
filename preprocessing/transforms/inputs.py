"""What a network may read instead of millivolts: the spectrum or the spectrogram of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor
from utils.errors import DataError, UsageError

_NORMS = ("backward", "ortho", "forward")


@register_preprocessor("waveform")
@dataclass(frozen=True)
class Waveform(Preprocessor):
    """The record as it is."""

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Copy.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        return signals.copy(), rate


@register_preprocessor("spectrum")
@dataclass(frozen=True)
class Spectrum(Preprocessor):
    """Magnitudes of all leads, then phases of all leads in radians, over frequency instead of time.

    ``n_fft``: samples of the transform (default: of the record); longer ones are padded with zeros.
    ``drop_dc``: leave out frequency 0.
    ``norm``: as `numpy.fft.rfft` has it.
    """

    keeps_shape: ClassVar[bool] = False
    remedy: ClassVar[str] = "the networks of a training run read waveforms"

    n_fft: int | None = None
    drop_dc: bool = True
    norm: str = "backward"

    def __post_init__(self) -> None:
        self.number("n_fft", least=2, whole=True, none=True)
        object.__setattr__(self, "norm", self.norm or "backward")
        self.one_of("norm", _NORMS)

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Transform each lead.

        Shapes: signals (..., leads, T) -> (..., 2 * leads, frequencies).
        """
        spectrum = np.fft.rfft(signals, self.n_fft, axis=-1, norm=self.norm)  # type: ignore[arg-type]
        spectrum = spectrum[..., int(self.drop_dc) :]
        if not spectrum.shape[-1]:
            raise DataError("spectrum: records of 1 sample are too short: they have no frequency above 0")
        return np.concatenate((np.abs(spectrum), np.angle(spectrum)), axis=-2), rate


@register_preprocessor("spectrogram")
@dataclass(frozen=True)
class Spectrogram(Preprocessor):
    """Power of a short-time Fourier transform (Hann windows, centered frames, ends reflected).

    The frequencies of a lead are channels of their own; the rate becomes that of the frames.

    ``window_size``, ``overlap_size``: seconds.
    ``n_bins``: frequencies (default: half the samples of a window, and one).
    """

    keeps_shape: ClassVar[bool] = False
    remedy: ClassVar[str] = "the networks of a training run read waveforms"

    window_size: float = 1 / 20
    overlap_size: float = 1 / 40
    n_bins: int | None = None

    def __post_init__(self) -> None:
        self.number("window_size", above=0)
        self.number("overlap_size", least=0)
        self.number("n_bins", least=2, whole=True, none=True)
        if self.overlap_size >= self.window_size:
            raise UsageError("spectrogram: overlap_size must be shorter than window_size")

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Transform each lead.

        Shapes: signals (..., leads, T) -> (..., leads * n_bins, frames).
        """
        window, overlap = round(self.window_size * rate), round(self.overlap_size * rate)
        n_fft = window if self.n_bins is None else 2 * (self.n_bins - 1)
        hop, half = window - overlap, n_fft // 2
        if hop < 1 or n_fft < window:
            raise UsageError(
                f"spectrogram: windows of {window} samples, {hop} apart, do not fit {n_fft // 2 + 1} bins at "
                f"{rate:g} Hz: choose a longer window_size or more n_bins"
            )
        if signals.shape[-1] <= half:
            raise DataError(
                f"spectrogram: records of {signals.shape[-1]} samples are too short: it needs "
                f"more than {half}"
            )
        taper = np.zeros(n_fft, signals.dtype)
        start = (n_fft - window) // 2
        taper[start : start + window] = np.hanning(window + 1)[:-1]
        padded = np.pad(signals, [(0, 0)] * (signals.ndim - 1) + [(half, half)], mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[..., ::hop, :]
        power = np.square(np.abs(np.fft.rfft(frames * taper, axis=-1)))
        power = np.swapaxes(power, -1, -2)  # (..., leads, n_bins, frames)
        return power.reshape(*signals.shape[:-2], -1, power.shape[-1]), rate / hop

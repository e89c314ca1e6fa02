"""Records of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor


@register_preprocessor("ensure_length")
@dataclass(frozen=True)
class EnsureLength(Preprocessor):
    """Crop around the center, or pad both ends with zeros.

    ``siglen``: samples.
    ``tolerance``: cut records that are longer by more than this fraction into windows instead, a step of
    ``tolerance * siglen`` samples apart, the last one at the end of the record. Windows are a new first axis,
    which shorter records then have, too.
    """

    keeps_shape: ClassVar[bool] = False
    remedy: ClassVar[str] = "--seconds crops and pads records as they are read"

    siglen: int = 5000
    tolerance: float | None = None

    def __post_init__(self) -> None:
        self.number("siglen", least=1, whole=True)
        self.number("tolerance", above=0, none=True)

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Crop, pad or cut.

        Shapes: signals (..., leads, T) -> (..., leads, siglen) or (windows, ..., leads, siglen).
        """
        samples = signals.shape[-1]
        if self.tolerance is None:
            return self._centered(signals), rate
        if samples <= self.siglen * (1 + self.tolerance):
            return self._centered(signals)[None], rate
        step = max(1, round(self.tolerance * self.siglen))
        starts = [*range(0, samples - self.siglen, step), samples - self.siglen]
        return np.stack([signals[..., start : start + self.siglen] for start in starts]), rate

    def _centered(self, signals: np.ndarray) -> np.ndarray:
        excess = signals.shape[-1] - self.siglen
        if excess >= 0:
            return signals[..., excess // 2 : excess // 2 + self.siglen].copy()
        left = -excess // 2
        return np.pad(signals, [(0, 0)] * (signals.ndim - 1) + [(left, -excess - left)])

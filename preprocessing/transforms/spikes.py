"""Samples that no electrocardiogram has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor


@register_preprocessor("spike_removal")
@dataclass(frozen=True)
class SpikeRemoval(Preprocessor):
    """Replace samples beyond a threshold, NaN and infinity by the last good one before, the first ones by 0.

    ``threshold``: mV.
    """

    takes_nan: ClassVar[bool] = True

    threshold: float = 20.0

    def __post_init__(self) -> None:
        self.number("threshold", above=0)

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Replace spikes.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        good = np.abs(signals) <= self.threshold  # False for NaN
        if good.all():
            return signals.copy(), rate
        last = np.maximum.accumulate(np.where(good, np.arange(signals.shape[-1]), -1), axis=-1)
        values = np.take_along_axis(signals, np.maximum(last, 0), axis=-1)
        return np.where(last >= 0, values, 0), rate

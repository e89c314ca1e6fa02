"""Baseline removal by two running medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor


def running_median(signals: np.ndarray, size: int) -> np.ndarray:
    """Median of a window centered at each sample; the ends repeat the first and the last one.

    Shapes: signals (..., T) -> (..., T).
    """
    from scipy.ndimage import median_filter

    result = np.empty_like(signals, order="C")
    # Row by row: scipy has an algorithm of its own for one dimension, which a 2-D call does not use.
    for row, filtered in zip(
        signals.reshape(-1, signals.shape[-1]), result.reshape(-1, signals.shape[-1]), strict=True
    ):
        median_filter(row, size, output=filtered, mode="nearest")
    return result


@register_preprocessor("baseline_remove")
@dataclass(frozen=True)
class BaselineRemove(Preprocessor):
    """Subtract a running median of a running median.

    ``window1``, ``window2``: seconds; the shorter one comes first.
    """

    window1: float = 0.2
    window2: float = 0.6

    def __post_init__(self) -> None:
        self.number("window1", above=0)
        self.number("window2", above=0)

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Subtract the baseline.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        baseline = signals
        for seconds in sorted((self.window1, self.window2)):
            baseline = running_median(baseline, 2 * (int(seconds * rate) // 2) + 1)
        return signals - baseline, rate

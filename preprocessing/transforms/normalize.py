"""Normalization of each record by its own samples, or by given numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocessing.transforms.preprocessor import Preprocessor, register_preprocessor
from utils.errors import DataError, UsageError

_LEAST = 1e-7  # added to a spread, so that a flat record becomes zero
_ROUNDS = 20  # of clipping; each brings a spike of few samples closer to the limit


@register_preprocessor("normalize")
@dataclass(frozen=True)
class Normalize(Preprocessor):
    """Normalize amplitudes.

    ``method``: ``z-score`` to `mean` and `std`; ``min-max`` to 0..1; ``naive``: less `mean`, over `std`.
    ``mean``, ``std``: a number, or one of each lead with `per_channel`.
    ``per_channel``: each lead by itself instead of the whole record.
    ``limit``: of the z-score, in standard deviations, or 0 for none: what deviates more from the mean is
    clipped, again until nothing does, so that a spike does not make everything else small.
    """

    method: str = "z-score"
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    per_channel: bool = False
    limit: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", str(self.method).lower())
        self.one_of("method", ("z-score", "min-max", "naive"))
        for option in ("mean", "std"):
            if np.ndim(getattr(self, option)) == 0:
                self.number(option, above=0 if option == "std" else -np.inf)
            elif not self.per_channel:
                raise UsageError(f"normalize: one {option} of each lead needs per_channel")
            else:
                self.numbers(option)
        if np.min(self.std) <= 0:
            raise UsageError("normalize: every std must be above 0")
        self.number("limit", least=0)
        if self.limit and (self.method != "z-score" or self.limit < 1):
            raise UsageError("normalize: limit is for the method z-score, from 1 standard deviation on")

    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Normalize.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        mean, std = self._given(self.mean, signals), self._given(self.std, signals)
        if self.method == "naive":
            return (signals - mean) / std, rate
        # One axis to reduce over, so that a record in a batch gives the numbers of the record alone.
        rows = signals if self.per_channel else signals.reshape(*signals.shape[:-2], 1, -1)
        if self.method == "min-max":
            low, high = rows.min(axis=-1, keepdims=True), rows.max(axis=-1, keepdims=True)
            return (signals - low) / (high - low + signals.dtype.type(_LEAST)), rate
        centered, spread = _centered(rows)
        for _ in range(_ROUNDS if self.limit else 0):
            reach = (self.limit * spread).astype(signals.dtype)
            beyond = (np.abs(centered) > reach * signals.dtype.type(1 + 1e-4)).any(axis=-1, keepdims=True)
            if not beyond.any():
                break
            # records without a spike keep their numbers, whatever else is in the batch
            again = _centered(np.clip(centered, -reach, reach))
            centered, spread = (
                np.where(beyond, *both) for both in zip(again, (centered, spread), strict=True)
            )
        if np.ndim(self.mean) == np.ndim(self.std) == 0:
            scaled = centered * (std / spread).astype(signals.dtype)
            return (scaled + mean if self.mean else scaled).reshape(signals.shape), rate
        return centered.reshape(signals.shape) / spread.astype(signals.dtype) * std + mean, rate

    @staticmethod
    def _given(value: Any, signals: np.ndarray) -> Any:
        """A number, or numbers of the leads as a column."""
        if np.ndim(value) == 0:
            return signals.dtype.type(value)
        if len(value) != signals.shape[-2]:
            raise DataError(
                f"normalize: {len(value)} numbers for {signals.shape[-2]} leads: give one for each"
            )
        return np.asarray(value, dtype=signals.dtype)[:, None]


def _centered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows less their mean, and their standard deviation, (..., T) and (..., 1)."""
    center = rows.mean(axis=-1, dtype=np.float64, keepdims=True).astype(rows.dtype)
    centered = rows - center
    return centered, np.sqrt(np.square(centered).mean(axis=-1, dtype=np.float64, keepdims=True)) + _LEAST

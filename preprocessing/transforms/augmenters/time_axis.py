"""Augmenters of the time axis: shifts, stretching and compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, chosen_rows, register_augmenter


def as_fraction(ratio: float) -> float:
    """A ratio; above 1 it is percent."""
    return ratio / 100 if ratio > 1 else ratio


@register_augmenter("shift")
@dataclass(frozen=True)
class Shift(Augmenter):
    """Shift each record circularly.

    ``largest``: as a fraction of the record; 1 is anywhere.
    """

    largest: float = 1.0

    def __post_init__(self) -> None:
        self.number("largest", least=0)

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Shift signals and what is aligned with them."""
        records, samples = batch.signals.shape[:2]
        steps = rng.integers(0, max(1, round(self.largest * samples)), records)

        def rolled(array: Any) -> Any:
            length = array.shape[1]
            moved = steps if length == samples else np.round(steps * length / samples).astype(np.int64)
            times = (np.arange(length) - moved[:, None]) % length
            return array[batch.put(np.arange(records)[:, None]), batch.put(times)]

        return batch.map_over_time(rolled).replace(signals=rolled(batch.signals))


@register_augmenter("stretch_compress")
@dataclass(frozen=True)
class StretchCompress(Augmenter):
    """Stretch or compress records in time; they keep their length, cropped or padded around the center.

    ``ratio``: typical change; above 1 it is percent. Half of the records are stretched.
    ``prob``: of each record.
    """

    ratio: float = 6.0
    prob: float = 0.5

    def __post_init__(self) -> None:
        self.number("ratio", least=0, most=100)
        self.probability()

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Stretch signals (linear interpolation) and what is aligned with them (nearest value)."""
        records, samples = batch.signals.shape[:2]
        rows = chosen_rows(rng, records, self.prob)
        ratio = as_fraction(self.ratio)
        sign = np.where(rng.random(len(rows)) < 0.5, -1, 1)
        change = np.clip(rng.normal(ratio, 0.382 * ratio, len(rows)), 0, 2 * ratio)
        lengths = np.maximum(1, np.round((1 + sign * change) * samples))
        if not len(rows) or samples < 2:
            return batch

        def places(length: int) -> tuple[np.ndarray, Any]:
            """Where each sample of the result was, and whether it is inside the record."""
            time = np.arange(samples) - np.trunc((samples - lengths) / 2)[:, None]
            origin = time * (samples - 1) / np.maximum(lengths - 1, 1)[:, None]
            if length != samples:  # targets of another rate: at the samples in the middle of theirs
                origin = (
                    origin[:, ((np.arange(length) + 0.5) * samples / length).astype(np.int64)]
                    * length
                    / samples
                )
            inside = (origin >= -0.5) & (origin <= length - 0.5)
            return np.clip(origin, 0, length - 1), inside

        def nearest(array: Any) -> Any:
            origin, inside = places(array.shape[1])
            values = array[
                batch.put(rows[:, None]),
                batch.put(np.floor(origin + 0.5).clip(0, array.shape[1] - 1).astype(np.int64)),
            ]
            inside = inside.reshape(*inside.shape, *(1,) * (array.ndim - 2))
            zero = batch.put(np.asarray(0), array)
            return batch.with_rows(array, rows, batch.xp.where(batch.put(inside), values, zero))

        origin, inside = places(samples)
        before = np.minimum(origin.astype(np.int64), samples - 2)
        weight = batch.put((origin - before)[..., None], batch.signals)
        row = batch.put(rows[:, None])
        low, high = (batch.signals[row, batch.put(times)] for times in (before, before + 1))
        moved = (low + (high - low) * weight) * batch.put(inside[..., None])
        signals = batch.with_rows(batch.signals, rows, moved)
        return batch.map_over_time(nearest).replace(signals=signals)

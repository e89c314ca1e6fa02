"""Masking of short stretches of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, chosen_rows, register_augmenter
from utils.errors import UsageError


@register_augmenter("random_masking")
@dataclass(frozen=True)
class RandomMasking(Augmenter):
    """Set short stretches of all leads to a value.

    ``fs``: Hz; default that of the batch.
    ``mask_width``: shortest and longest stretch in seconds.
    ``prob``: of a record; and the fraction of time that is masked in it, or with critical points (such as R
    peaks) the fraction of these that are masked.
    """

    fs: float | None = None
    mask_value: float = 0.0
    mask_width: tuple[float, float] = (0.08, 0.18)
    prob: float | tuple[float, float] = (0.3, 0.15)

    def __post_init__(self) -> None:
        self.number("fs", above=0, none=True)
        self.number("mask_value")
        self.numbers("mask_width", 2, 0)
        self.pair("prob")
        if self.mask_width[0] > self.mask_width[1]:
            raise UsageError(f"random_masking: mask_width {self.mask_width} must be (shortest, longest)")

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Mask."""
        shortest, longest = (max(1, round(width * self.rate_of(batch))) for width in self.mask_width)
        records, samples = batch.signals.shape[:2]
        record_prob, fraction = np.broadcast_to(self.prob, 2)
        rows = chosen_rows(rng, records, record_prob)
        if batch.critical_points is None:
            average = (shortest + longest) / 2
            counts = rng.binomial(samples, min(1.0, fraction / average), len(rows))
            centers = rng.integers(0, samples, counts.sum())
        else:
            if len(batch.critical_points) != records:
                raise UsageError(
                    f"random_masking: critical points of {len(batch.critical_points)} records for {records}"
                )
            points = [np.asarray(batch.critical_points[row], dtype=np.int64).ravel() for row in rows]
            kept = [p[rng.random(len(p)) < fraction] for p in points]
            counts = np.asarray([len(p) for p in kept], dtype=np.int64)
            centers = np.concatenate([*kept, np.zeros(0, np.int64)])
        widths = rng.integers(shortest, longest + 1, len(centers))
        begins = np.clip(centers - widths // 2, 0, samples)
        ends = np.clip(centers - widths // 2 + widths, 0, samples)
        edges = np.zeros((records, samples + 1), np.int64)
        row_of = np.repeat(rows, counts)
        np.add.at(edges, (row_of, begins), 1)
        np.add.at(edges, (row_of, ends), -1)
        masked = batch.put(edges.cumsum(axis=1)[:, :-1, None] > 0)
        value = batch.put(np.asarray(self.mask_value), batch.signals)
        return batch.replace(signals=batch.xp.where(masked, value, batch.signals))

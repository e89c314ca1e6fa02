"""Augmenters of amplitudes: scale, noise, silenced leads, flips, renormalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, chosen_rows, register_augmenter

_LEAST = 1e-7  # added to a spread, so that a flat record stays flat


@register_augmenter("scale")
@dataclass(frozen=True)
class Scale(Augmenter):
    """Multiply each record by a factor from ``1 - largest .. 1 + largest``."""

    largest: float = 0.1

    def __post_init__(self) -> None:
        self.number("largest", least=0)

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Scale."""
        factor = rng.uniform(1 - self.largest, 1 + self.largest, (batch.signals.shape[0], 1, 1))
        return batch.replace(signals=batch.signals * batch.put(factor))


@register_augmenter("noise")
@dataclass(frozen=True)
class Noise(Augmenter):
    """Add white noise of a standard deviation from ``0 .. largest``, one for each record."""

    largest: float = 0.1

    def __post_init__(self) -> None:
        self.number("largest", least=0)

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Add noise."""
        level = self.largest * rng.random((batch.signals.shape[0], 1, 1))
        noise = rng.standard_normal(tuple(batch.signals.shape), dtype=np.float32)
        return batch.replace(signals=batch.signals + batch.put(level) * batch.put(noise))


@register_augmenter("lead_dropout")
@dataclass(frozen=True)
class LeadDropout(Augmenter):
    """Silence leads.

    ``prob``: of each lead of each record.
    """

    prob: float = 0.1

    def __post_init__(self) -> None:
        self.probability()

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Silence."""
        records, _, leads = batch.signals.shape
        kept = rng.random((records, 1, leads)) >= self.prob
        return batch.replace(signals=batch.signals * batch.put(kept))


@register_augmenter("random_flip")
@dataclass(frozen=True)
class RandomFlip(Augmenter):
    """Turn signals upside down.

    ``prob``: of a record, and of each lead of a chosen record with `per_channel`.
    """

    per_channel: bool = True
    prob: float | tuple[float, float] = (0.4, 0.2)

    def __post_init__(self) -> None:
        self.pair("prob")

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Flip."""
        records, _, leads = batch.signals.shape
        record_prob, lead_prob = np.broadcast_to(self.prob, 2)
        rows = chosen_rows(rng, records, record_prob)
        sign = np.ones((records, 1, leads))
        sign[rows] = (
            np.where(rng.random((len(rows), 1, leads)) < lead_prob, -1, 1) if self.per_channel else -1
        )
        return batch.replace(signals=batch.signals * batch.put(sign, batch.signals))


@register_augmenter("random_renormalize")
@dataclass(frozen=True)
class RandomRenormalize(Augmenter):
    """Give records another mean and standard deviation.

    ``mean``, ``std``: range, or one of each lead (leads, 2); normally distributed around the middle.
    ``per_channel``: statistics of each lead instead of the record.
    ``prob``: of each record.
    """

    mean: tuple[float, float] | tuple[tuple[float, float], ...] = (-0.05, 0.1)
    std: tuple[float, float] | tuple[tuple[float, float], ...] = (0.08, 0.32)
    per_channel: bool = False
    prob: float = 0.5

    def __post_init__(self) -> None:
        self.numbers("mean")
        self.numbers("std", least=0)
        self.probability()
        for option in ("mean", "std"):
            if np.shape(getattr(self, option))[-1] != 2 or np.ndim(getattr(self, option)) > 2:
                self.numbers(option, 2)  # says what is expected

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Renormalize."""
        xp = batch.xp
        records, _, leads = batch.signals.shape
        rows = chosen_rows(rng, records, self.prob)
        if not len(rows):
            return batch
        drawn = []
        for ranges in (np.asarray(self.mean), np.asarray(self.std)):
            columns = leads if self.per_channel or ranges.ndim == 2 else 1
            low, high = np.broadcast_to(ranges, (columns, 2)).T
            middle = (low + high) / 2
            drawn.append(middle + 0.3 * (high - middle) * rng.standard_normal((len(rows), 1, columns)))
        chosen = xp.take(batch.signals, batch.put(rows), axis=0) if len(rows) < records else batch.signals
        axes = 1 if self.per_channel else (1, 2)
        centered = chosen - xp.mean(chosen, axis=axes, keepdims=True)
        spread = xp.sqrt(xp.mean(centered * centered, axis=axes, keepdims=True)) + _LEAST
        mean, std = (batch.put(values, batch.signals) for values in (drawn[0], np.abs(drawn[1])))
        return batch.replace(signals=batch.with_rows(batch.signals, rows, centered * (std / spread) + mean))

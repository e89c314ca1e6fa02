"""Bursts of noise: what a moving electrode or a tense muscle adds for a second or two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, register_augmenter


@register_augmenter("bursts")
@dataclass(frozen=True)
class Bursts(Augmenter):
    """Add to a stretch of a lead a random walk that returns to zero, or white noise.

    ``walk``: largest amplitude of the random walk, ``white``: largest standard deviation of the white noise,
    both in standard deviations of the lead; the strength is drawn evenly from zero on.
    ``seconds``: shortest and longest stretch.
    ``prob``: of each of the two, of each lead.
    ``fs``: Hz; default that of the batch.
    """

    walk: float = 3.0
    white: float = 1.0
    seconds: tuple[float, float] = (0.3, 4.0)
    prob: float = 0.3
    fs: float | None = None

    def __post_init__(self) -> None:
        self.number("walk", least=0)
        self.number("white", least=0)
        self.numbers("seconds", 2, 0)
        self.probability()
        self.number("fs", above=0, none=True)

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Add bursts."""
        records, samples, leads = batch.signals.shape
        rate, xp = self.rate_of(batch), batch.xp
        added = np.zeros((records, leads, samples), np.float32)
        for lead in added.reshape(-1, samples):
            for largest, walks in ((self.walk, True), (self.white, False)):
                if rng.random() < self.prob:
                    self._add(lead, rng, rate, largest, walks)
        # in double precision, so that neither framework nor memory layout shows in the result
        values = xp.astype(batch.signals, xp.float64)
        centered = values - xp.mean(values, axis=1, keepdims=True)
        spread = xp.astype(xp.sqrt(xp.mean(centered * centered, axis=1, keepdims=True)), batch.signals.dtype)
        noise = xp.permute_dims(batch.put(added, batch.signals), (0, 2, 1))
        return batch.replace(signals=batch.signals + noise * spread)

    def _add(
        self, lead: np.ndarray, rng: np.random.Generator, rate: float, largest: float, walks: bool
    ) -> None:
        """Add one burst to a lead, (T,)."""
        length = min(len(lead), max(2, round(rng.uniform(*self.seconds) * rate)))
        start = int(rng.integers(0, len(lead) - length + 1))
        noise = rng.standard_normal(length)
        if walks:
            noise = np.cumsum(noise)
            noise -= np.linspace(noise[0], noise[-1], length)
            noise /= max(float(np.abs(noise).max()), 1e-6)
        lead[start : start + length] += (rng.uniform(0, largest) * noise).astype(np.float32)

"""Augmentation of training batches, in plain NumPy so that both frameworks see the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch; the defaults do nothing.

    Parameters
    ----------
    crop : int
        Samples of a random crop; 0 keeps the whole record.
    shift : float
        Largest circular shift in time, as a part of the record (1.0 = anywhere). Ignored with `crop`.
    scale : float
        Amplitudes are multiplied by a factor drawn from ``1 - scale .. 1 + scale``, one for each record.
    noise : float
        Largest standard deviation of added white noise, in units of the standardized signal.
    lead_dropout : float
        Probability that a lead is silenced.
    mixup : float
        Alpha of the Beta distribution that mixes pairs of records and their labels; 0 mixes nothing.
        Zhang et al., ICLR 2018, arXiv:1710.09412.
    """

    crop: int = 0
    shift: float = 0.0
    scale: float = 0.0
    noise: float = 0.0
    lead_dropout: float = 0.0
    mixup: float = 0.0

    def __call__(
        self, signals: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment one batch.

        Shapes: signals (B, T, leads), labels (B, C) -> signals (B, crop or T, leads), labels (B, C).
        """
        records, samples, leads = signals.shape
        if self.crop:
            starts = rng.integers(0, samples - self.crop + 1, records)
            signals = np.stack([x[s : s + self.crop] for x, s in zip(signals, starts, strict=True)])
        elif self.shift:
            steps = rng.integers(0, max(1, round(self.shift * samples)), records)
            signals = np.stack([np.roll(x, s, axis=0) for x, s in zip(signals, steps, strict=True)])
        if self.scale:
            signals = signals * rng.uniform(1 - self.scale, 1 + self.scale, (records, 1, 1))
        if self.noise:
            level = self.noise * rng.random((records, 1, 1))
            signals = signals + level * rng.standard_normal(signals.shape, dtype=np.float32)
        if self.lead_dropout:
            signals = signals * (rng.random((records, 1, leads)) >= self.lead_dropout)
        if self.mixup:
            weight = rng.beta(self.mixup, self.mixup)
            partner = rng.permutation(records)
            signals = weight * signals + (1 - weight) * signals[partner]
            labels = weight * labels + (1 - weight) * labels[partner]
        return signals.astype(np.float32, copy=False), labels.astype(np.float32, copy=False)

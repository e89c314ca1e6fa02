"""Augmentation of training batches, in plain NumPy so that both frameworks see the same numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.augmenters import Step, build_augmenters


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch; the defaults do nothing.

    ``crop``: samples of a random crop; 0 keeps the whole record.
    ``shift``: largest circular shift in time, as a part of the record (1.0 = anywhere). Ignored with `crop`.
    ``scale``: amplitudes are multiplied by a factor from ``1 - scale .. 1 + scale``, one for each record.
    ``noise``: largest standard deviation of added white noise, in units of the standardized signal.
    ``lead_dropout``: probability that a lead is silenced.
    ``mixup``: alpha of the Beta distribution that mixes pairs of records and their labels; 0 mixes nothing.
        Zhang et al., ICLR 2018, arXiv:1710.09412.
    ``augment``: registered augmenters that come last, as `augmenters.build_augmenters` takes them.
    """

    crop: int = 0
    shift: float = 0.0
    scale: float = 0.0
    noise: float = 0.0
    lead_dropout: float = 0.0
    mixup: float = 0.0
    augment: tuple[str, ...] = ()

    @functools.cached_property
    def _steps(self) -> tuple[Step, ...]:
        return build_augmenters(self.augment)

    def __call__(
        self, signals: np.ndarray, targets: np.ndarray, rng: np.random.Generator, aligned: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment one batch; crops and shifts move the targets with the signals where they are ``aligned``.

        Shapes: signals (B, T, leads), targets (B, ...) -> signals (B, crop or T, leads), targets (B, ...).
        """
        records, samples, leads = signals.shape
        if self.crop:
            starts = rng.integers(0, samples - self.crop + 1, records)
            signals = _cropped(signals, starts, self.crop)
            targets = _cropped(targets, starts, self.crop) if aligned else targets
        elif self.shift:
            steps = rng.integers(0, max(1, round(self.shift * samples)), records)
            signals = _rolled(signals, steps)
            targets = _rolled(targets, steps) if aligned else targets
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
            targets = weight * targets + (1 - weight) * targets[partner]
        for step in self._steps:
            signals, targets = step(signals, targets, rng)
        return signals.astype(np.float32, copy=False), targets.astype(np.float32, copy=False)


def _cropped(batch: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    return np.stack([x[s : s + length] for x, s in zip(batch, starts, strict=True)])


def _rolled(batch: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.stack([np.roll(x, s, axis=0) for x, s in zip(batch, steps, strict=True)])

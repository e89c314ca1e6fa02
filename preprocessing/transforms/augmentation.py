"""Augmentation of training batches, in NumPy so that both frameworks see the same numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, build_augmenter, build_augmenters
from preprocessing.transforms.augmenters.manager import run

# Options that are older than --augment, in the order in which they act: augmenter and its option.
FLAGS = {
    "shift": ("shift", "largest"),
    "scale": ("scale", "largest"),
    "noise": ("noise", "largest"),
    "lead_dropout": ("lead_dropout", "prob"),
    "mixup": ("mixup", "alpha"),
}


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch; the defaults do nothing.

    ``crop``: samples of a random crop; 0 keeps the whole record.
    ``shift``, ``scale``, ``noise``, ``lead_dropout``, ``mixup``: the augmenters of these names with this
        strength, in this order; 0 leaves one out. A crop, which is at a random place, leaves out the shift.
    ``augment``: registered augmenters that come last, as `augmenters.base.build_augmenters` takes them.
    """

    crop: int = 0
    shift: float = 0.0
    scale: float = 0.0
    noise: float = 0.0
    lead_dropout: float = 0.0
    mixup: float = 0.0
    augment: tuple[str, ...] = ()

    @functools.cached_property
    def steps(self) -> tuple[Augmenter, ...]:
        """All augmenters in their order."""
        steps = []
        for flag, (name, option) in FLAGS.items():
            strength = getattr(self, flag)
            if strength and not (flag == "shift" and self.crop):
                every = {"prob": 1.0} if name == "mixup" else {}
                steps.append(build_augmenter(name, {option: strength, **every}))
        return (*steps, *build_augmenters(self.augment))

    def __call__(
        self,
        signals: np.ndarray,
        targets: np.ndarray,
        rng: np.random.Generator,
        aligned: bool = False,
        rate: float | None = None,
        weights: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment one batch; what moves the signals moves the targets with them where they are ``aligned``.

        ``rate``: sampling rate in Hz. ``weights``: last columns of the targets that hold weights.

        Shapes: signals (B, T, leads), targets (B, ...) -> signals (B, crop or T, leads), targets (B, ...).
        """
        records, samples, _ = signals.shape
        if self.crop:
            starts = rng.integers(0, samples - self.crop + 1, records)
            signals = _cropped(signals, starts, self.crop)
            targets = _cropped(targets, starts, self.crop) if aligned else targets
        batch = run(self.steps, Batch(signals, targets, rate=rate, aligned=aligned, weights=weights), rng)
        return (
            np.asarray(batch.signals).astype(np.float32, copy=False),
            np.asarray(batch.label).astype(np.float32, copy=False),
        )


def _cropped(batch: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    return np.stack([x[s : s + length] for x, s in zip(batch, starts, strict=True)])

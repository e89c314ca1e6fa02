"""Baseline wander: slow sines and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.transforms.amplitude import amplitude
from preprocessing.transforms.augmenters.base import Augmenter, Batch, register_augmenter
from preprocessing.transforms.preprocessor import as_array

_RATIOS = (
    (0.01, 0.01, 0.02, 0.03),
    (0.01, 0.02, 0.04, 0.05),
    (0.1, 0.06, 0.04, 0.02),
    (0.02, 0.04, 0.07, 0.1),
    (0.05, 0.1, 0.16, 0.25),
    (0.1, 0.15, 0.25, 0.3),
    (0.25, 0.25, 0.3, 0.35),
)


@register_augmenter("baseline_wander")
@dataclass(frozen=True)
class BaselineWander(Augmenter):
    """Add sines of low frequencies and Gaussian noise, in proportion to the amplitude of each lead.

    ``fs``: Hz; default that of the batch.
    ``bw_fs``: frequencies in Hz.
    ``ampl_ratio`` (rows, frequencies): amplitudes to choose a row from, ``gaussian`` (rows, 2): mean and
    standard deviation of the noise; both relative to the amplitude of the lead.
    ``prob``: of the sines of a lead, and of its noise.
    """

    fs: float | None = None
    bw_fs: tuple[float, ...] = (0.33, 0.1, 0.05, 0.01)
    ampl_ratio: tuple[tuple[float, ...], ...] = _RATIOS
    gaussian: tuple[tuple[float, float], ...] = ((0.0, 0.001), (0.0, 0.003), (0.0, 0.01))
    prob: float = 0.5

    def __post_init__(self) -> None:
        self.number("fs", above=0, none=True)
        self.probability()
        self.numbers("bw_fs", least=0)
        for option, columns in (("ampl_ratio", len(self.bw_fs)), ("gaussian", 2)):
            rows = getattr(self, option)
            object.__setattr__(self, option, np.atleast_2d(np.asarray(rows, dtype=object)).tolist())
            self.numbers(option)
            if np.shape(getattr(self, option))[1:] != (columns,):
                self.numbers(option, columns)  # says how many are expected

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Add wander."""
        rate = self.rate_of(batch)
        if not self.prob:
            return batch
        xp, (records, samples, leads) = batch.xp, batch.signals.shape
        sizes = as_array(amplitude(batch.signals, rate))[0].reshape(-1, 1)
        wander = self._wander(rng, sizes, samples, rate).reshape(records, leads, samples)
        moved = xp.permute_dims(batch.put(wander, batch.signals), (0, 2, 1))
        return batch.replace(signals=batch.signals + moved)

    def _wander(self, rng: np.random.Generator, sizes: np.ndarray, samples: int, rate: float) -> np.ndarray:
        """Wander of leads.

        Shapes: sizes (rows, 1), their amplitudes -> (rows, samples).
        """
        ratios = self._drawn(rng, np.asarray(self.ampl_ratio), len(sizes)) * sizes
        phases = 2 * np.pi * rng.random(ratios.shape)
        angles = 2 * np.pi * np.outer(self.bw_fs, np.arange(samples) / rate)
        # The sine of a sum as a product of matrices: no sine is taken of a whole batch.
        weights = np.concatenate((ratios * np.cos(phases), ratios * np.sin(phases)), axis=1)
        waves = np.concatenate((np.sin(angles), np.cos(angles)))
        wander = weights.astype(np.float32) @ waves.astype(np.float32)
        gaussian = (self._drawn(rng, np.asarray(self.gaussian), len(sizes)) * sizes).astype(np.float32)
        noise = np.empty(samples, np.float32)
        for row in np.flatnonzero(gaussian.any(axis=1)):  # a row stays in the cache, a batch does not
            rng.standard_normal(dtype=np.float32, out=noise)
            noise *= gaussian[row, 1]
            noise += gaussian[row, 0]
            wander[row] += noise
        return wander

    def _drawn(self, rng: np.random.Generator, table: np.ndarray, rows: int) -> np.ndarray:
        """A row of a table for each lead, zeros where it is left alone."""
        return table[rng.integers(len(table), size=rows)] * (rng.random((rows, 1)) < self.prob)

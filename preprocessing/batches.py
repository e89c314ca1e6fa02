"""Batches of standardized signals, the same for both frameworks and for every resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.transforms.augmentation import Augmentation
from preprocessing.transforms.standardize import Standardizer


class Batches:
    """Batches of one split, read from the cache on demand.

    The order of the records and every random number follow from (seed, epoch, batch) alone, so that a
    resumed run sees exactly what an uninterrupted one would have seen.

    ``standardizer``: fitted on the training folds.
    ``batch_size``: records of a batch; the last one may be shorter.
    ``seed``: seed of order and augmentation.
    ``shuffle``: new order in every epoch.
    ``augmentation``: applied to every batch.
    ``encode``: turns the targets of a batch into what the loss takes; by default float32.
    ``aligned``: dimension 1 of the targets is time.
    """

    def __init__(
        self,
        dataset: Dataset,
        standardizer: Standardizer,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        encode: Callable[[np.ndarray], np.ndarray] | None = None,
        aligned: bool = False,
    ):
        self.dataset = dataset
        self.standardizer = standardizer
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.encode = encode or (lambda targets: targets.astype(np.float32))
        self.aligned = aligned

    def __len__(self) -> int:
        return -(-len(self.dataset.targets) // self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch of one epoch; signals (B, T, leads), targets (B, ...)."""
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        rows = self._order(epoch)[chosen]
        signals = self.standardizer(self.dataset.signals[rows])
        targets = self.encode(self.dataset.targets[rows])
        if self.augmentation is None:
            return signals, targets
        rng = np.random.default_rng((self.seed, epoch, index))
        return self.augmentation(signals, targets, rng, self.aligned, self.dataset.sampling_rate)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches of an epoch."""
        for index in range(start, len(self)):
            yield self.batch(epoch, index)

    def _order(self, epoch: int) -> np.ndarray:
        records = np.arange(len(self.dataset.targets))
        return np.random.default_rng((self.seed, epoch)).permutation(records) if self.shuffle else records

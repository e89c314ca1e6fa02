"""Batches of standardised signals, the same for both frameworks and for every resumed run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from preprocessing.dataset import ECGDataset
from preprocessing.transforms.augmentation import Augmentation
from preprocessing.transforms.standardize import Standardizer


class Batches:
    """Batches of one split, read from the cache when they are asked for.

    The order of the records and every random number follow from (seed, epoch, batch) alone, so that a
    resumed run sees exactly what an uninterrupted one would have seen.

    Parameters
    ----------
    dataset : ECGDataset
        One split.
    standardizer : Standardizer
        Fitted on the training folds.
    batch_size : int
        Records of a batch; the last one may be shorter.
    seed : int
        Seed of order and augmentation.
    shuffle : bool
        New order in every epoch.
    augmentation : Augmentation or None
        Applied to every batch.
    label_smoothing : float
        Moves labels from 0 and 1 towards 0.5 (for `multilabel`) or the uniform distribution.
    multilabel : bool
        False for exclusive classes.
    """

    def __init__(
        self,
        dataset: ECGDataset,
        standardizer: Standardizer,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        multilabel: bool = True,
    ):
        self.dataset = dataset
        self.standardizer = standardizer
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        classes = 2 if multilabel else dataset.labels.shape[1]
        self.labels = dataset.labels.astype(np.float32) * (1 - label_smoothing) + label_smoothing / classes

    def __len__(self) -> int:
        return -(-len(self.dataset.labels) // self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch of one epoch.

        Parameters
        ----------
        epoch : int
            Epoch, from 0.
        index : int
            Batch of the epoch, from 0.

        Returns
        -------
        signals : ndarray, shape (B, T, leads), float32
            Standardised signals.
        labels : ndarray, shape (B, C), float32
            Labels, smoothed and mixed if so configured.
        """
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        rows = self._order(epoch)[chosen]
        signals = self.standardizer(self.dataset.signals[rows])
        labels = self.labels[rows]
        if self.augmentation is None:
            return signals, labels
        return self.augmentation(signals, labels, np.random.default_rng((self.seed, epoch, index)))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches of an epoch.

        Parameters
        ----------
        epoch : int
            Epoch, from 0.
        start : int
            First batch (a run interrupted inside an epoch goes on there).

        Yields
        ------
        tuple of ndarray
            See `batch`.
        """
        for index in range(start, len(self)):
            yield self.batch(epoch, index)

    def _order(self, epoch: int) -> np.ndarray:
        records = np.arange(len(self.dataset.labels))
        return np.random.default_rng((self.seed, epoch)).permutation(records) if self.shuffle else records

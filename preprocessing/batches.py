"""Batches of standardized signals, the same for both frameworks and for every resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.transforms.augmentation import Augmentation
from preprocessing.transforms.standardize import Standardizer
from utils.errors import DataError


class Weighted(NamedTuple):
    """Targets of a loss and what each of them weighs; 0 leaves one out.

    ``labels`` (B, ..., C); ``weights`` (B, ..., 1), or (B, ..., C) with a weight for each class.
    """

    labels: np.ndarray
    weights: np.ndarray


Encoded = np.ndarray | Weighted


def pack(encoded: Encoded) -> np.ndarray:
    """One array of labels and weights, which follow as further columns: (B, ..., C), C + 1 or 2 C."""
    if not isinstance(encoded, Weighted):
        return encoded
    labels, weights = encoded
    if weights.shape[:-1] != labels.shape[:-1] or weights.shape[-1] not in (1, labels.shape[-1]):
        raise DataError(
            f"weights of shape {weights.shape} do not fit labels of shape {labels.shape}: their last axis "
            f"must have 1 or {labels.shape[-1]} columns"
        )
    return np.concatenate([labels, weights.astype(labels.dtype, copy=False)], axis=-1)


class Batches:
    """Batches of one split, read from the cache on demand.

    The order of the records and every random number follow from (seed, epoch, batch) alone, so that a
    resumed run sees exactly what an uninterrupted one would have seen.

    ``standardizer``: fitted on the training folds.
    ``batch_size``: records of a batch; the last one may be shorter.
    ``seed``: seed of order and augmentation.
    ``shuffle``: new order in every epoch.
    ``augmentation``: applied to every batch.
    ``encode``: turns the targets of a batch into what the loss takes; by default float32. Weights, which
        augmenters crop, move and mix as they do labels, become columns after those of the classes (`pack`).
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
        encode: Callable[[np.ndarray], Encoded] | None = None,
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
        encoded = self.encode(self.dataset.targets[rows])
        targets = pack(encoded)
        if self.augmentation is None:
            return signals, targets
        rng = np.random.default_rng((self.seed, epoch, index))
        weights = encoded.weights.shape[-1] if isinstance(encoded, Weighted) else 0
        return self.augmentation(
            signals, targets, rng, self.aligned, self.dataset.sampling_rate, weights=weights
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches of an epoch."""
        for index in range(start, len(self)):
            yield self.batch(epoch, index)

    def _order(self, epoch: int) -> np.ndarray:
        records = np.arange(len(self.dataset.targets))
        return np.random.default_rng((self.seed, epoch)).permutation(records) if self.shuffle else records

"""Augmenters that mix labels: mixup, cutmix and label smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from preprocessing.transforms.augmenters.base import Augmenter, Batch, chosen_rows, register_augmenter


@register_augmenter("mixup")
@dataclass(frozen=True)
class Mixup(Augmenter):
    """Mix pairs of records and their labels (Zhang et al., ICLR 2018, arXiv:1710.09412).

    ``alpha``, ``beta``: of the Beta distribution that a batch's weight is drawn from (default beta: alpha).
    ``prob``: of each record.
    """

    mixes_labels: ClassVar[bool] = True

    alpha: float = 0.5
    beta: float | None = None
    prob: float = 0.5

    def __post_init__(self) -> None:
        self.number("alpha", above=0)
        self.number("beta", above=0, none=True)
        self.probability()

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Mix; further arrays stay as they are."""
        rows = chosen_rows(rng, batch.signals.shape[0], self.prob)
        weight = rng.beta(self.alpha, self.beta or self.alpha)
        partner = rows[rng.permutation(len(rows))]

        def mixed(array: Any) -> Any:
            if array is None or not len(rows):
                return array
            mine, other = (batch.xp.take(array, batch.put(index), axis=0) for index in (rows, partner))
            return batch.with_rows(array, rows, weight * mine + (1 - weight) * other)

        return batch.replace(signals=mixed(batch.signals), label=mixed(batch.label))


@register_augmenter("cutmix")
@dataclass(frozen=True)
class CutMix(Augmenter):
    """Replace a stretch of a record by that of another one (Yun et al., ICCV 2019, arXiv:1905.04899).

    Labels are mixed by the parts of time; labels and masks with a time axis are cut where the signal is.

    ``num_mix``: how often.
    ``alpha``, ``beta``: of the Beta distribution of the replaced part (default beta: alpha).
    ``prob``: of each record.
    """

    mixes_labels: ClassVar[bool] = True

    num_mix: int = 1
    alpha: float = 0.5
    beta: float | None = None
    prob: float = 0.5

    def __post_init__(self) -> None:
        self.number("num_mix", least=1, whole=True)
        self.number("alpha", above=0)
        self.number("beta", above=0, none=True)
        self.probability()

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Cut and mix."""
        for _ in range(self.num_mix):
            batch = self._mixed_once(batch, rng)
        return batch

    def _mixed_once(self, batch: Batch, rng: np.random.Generator) -> Batch:
        records, samples = batch.signals.shape[:2]
        rows = chosen_rows(rng, records, self.prob)
        partner, lengths = np.arange(records), np.zeros(records, np.int64)
        partner[rows] = rows[rng.permutation(len(rows))]
        lengths[rows] = np.round(samples * rng.beta(self.alpha, self.beta or self.alpha, len(rows)))
        starts = np.floor(rng.random(records) * (samples - lengths + 1)).astype(np.int64)
        others = batch.put(partner)

        def cut(array: Any) -> Any:
            time = (np.arange(array.shape[1]) + 0.5) * samples / array.shape[1]
            replaced = (time >= starts[:, None]) & (time < (starts + lengths)[:, None])
            replaced = batch.put(replaced.reshape(*replaced.shape, *(1,) * (array.ndim - 2)))
            return batch.xp.where(replaced, batch.xp.take(array, others, axis=0), array)

        timed, *_ = batch.over_time()
        result = batch.map_over_time(cut).replace(signals=cut(batch.signals))
        if batch.label is None or timed:
            return result
        part = batch.put((lengths / samples).reshape(-1, *(1,) * (batch.label.ndim - 1)), batch.label)
        return result.replace(
            label=(1 - part) * batch.label + part * batch.xp.take(batch.label, others, axis=0)
        )


@register_augmenter("label_smooth")
@dataclass(frozen=True)
class LabelSmooth(Augmenter):
    """Move labels towards equal probabilities.

    ``smoothing``: how far. ``prob``: of each record.
    ``toward``: the value they move to (default: one over the classes; 0.5 suits independent classes).
    """

    mixes_labels: ClassVar[bool] = True

    smoothing: float = 0.1
    prob: float = 0.5
    toward: float | None = None

    def __post_init__(self) -> None:
        self.probability("smoothing", "prob")
        self.number("toward", least=0, most=1, none=True)

    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Smooth."""
        rows = chosen_rows(rng, batch.signals.shape[0], self.prob)
        if batch.label is None or not len(rows):
            return batch
        classes = batch.label.shape[-1] - batch.weights
        toward = 1 / classes if self.toward is None else self.toward
        chosen = batch.xp.take(batch.label, batch.put(rows), axis=0)
        smoothed = chosen * (1 - self.smoothing) + self.smoothing * toward
        if batch.weights:
            smoothed = batch.xp.concat([smoothed[..., :classes], chosen[..., classes:]], axis=-1)
        return batch.replace(label=batch.with_rows(batch.label, rows, smoothed))

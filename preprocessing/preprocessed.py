"""Preprocessed records of a dataset, computed once and cached."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator

import numpy as np

from preprocessing.cache import UNITS_PER_MV, open_cache
from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.transforms.preprocessor import PreprocManager
from utils.errors import UsageError

FORMAT = 1  # raise it when a preprocessor gives other numbers than before
_BLOCK = 64  # records at a time


class _Reader:
    """Preprocessed records, as a cache reads them."""

    dtype = np.dtype("<f4")

    def __init__(self, dataset: Dataset, preprocess: PreprocManager) -> None:
        self._dataset, self._preprocess = dataset, preprocess
        self.shape = dataset.signals.shape

    def blocks(self) -> Iterator[np.ndarray]:
        """Records in order.

        Returns shape (<= 64, T, leads).
        """
        for start in range(0, len(self._dataset), _BLOCK):
            block = self._dataset.signals[start : start + _BLOCK]
            processed, _ = self._preprocess(block, self._dataset.sampling_rate)
            yield np.ascontiguousarray(processed, dtype=self.dtype)


def preprocess_dataset(
    dataset: Dataset,
    preprocess: PreprocManager,
    data_dir: str | os.PathLike,
    cache_dir: str | os.PathLike | None = None,
) -> Dataset:
    """Apply preprocessors that keep the shape to all records of a dataset, in float32.

    The fingerprint of the cache is that of the records, the preprocessors with all of their options, and the
    version of scipy. Targets, ids and the dataset's own fingerprint stay.
    """
    if not preprocess:
        return dataset
    reader = _Reader(dataset, preprocess)
    if dataset.digests is None or not isinstance(dataset.signals, ScaledSignals):
        samples = np.concatenate(list(reader.blocks()))
        return dataclasses.replace(dataset, signals=samples)
    described = [FORMAT, dataset.sampling_rate, preprocess.to_json(), importlib.metadata.version("scipy")]
    source = hashlib.sha256(json.dumps([described, dataset.digests.tolist()]).encode()).hexdigest()
    part = "_".join(dict.fromkeys(dataset.splits.tolist()))
    name = f"preprocessed_{dataset.name}_{dataset.task}_{part}".replace(os.sep, "_")
    cached = open_cache(
        data_dir, name, source, len(dataset), lambda: reader, cache_dir, preprocess=preprocess.to_json()
    )
    signals = ScaledSignals(cached.samples, units_per_mv=UNITS_PER_MV[cached.samples.dtype])
    return dataclasses.replace(dataset, signals=signals)


def check_same_shape(preprocess: PreprocManager) -> None:
    """Refuse, for a training run, preprocessors that change rate, samples or leads."""
    for step in preprocess.steps:
        if not step.keeps_shape:
            raise UsageError(
                f"--preprocess {step.name} changes the shape of the records, which targets, pictures and "
                f"explanations follow: leave it out ({step.remedy})"
            )

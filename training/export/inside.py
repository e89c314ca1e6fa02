"""Which part of a card's preprocessing an exported network does, and which is left to the caller."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocessing.transforms.filters import remove_baseline
from preprocessing.transforms.normalize import Normalize
from preprocessing.transforms.preprocessor import Preprocessor, PreprocManager
from preprocessing.transforms.standardize import Standardizer


def split_steps(standardizer: Standardizer) -> tuple[list[Preprocessor], list[Normalize]]:
    """Preprocessors before the network, and those at the end that it does itself.

    A high-pass comes after all of them, and is a filter of the whole record: nothing before it is inside.
    """
    manager = standardizer.preprocess
    steps, inside = list(manager.steps), list[Normalize]()
    if standardizer.highpass or manager.random:
        return steps, inside
    while steps and _is_simple(steps[-1]):
        inside.insert(0, steps.pop())  # type: ignore[arg-type]
    return steps, inside


def _is_simple(step: Preprocessor) -> bool:
    return isinstance(step, Normalize) and not step.limit and np.ndim(step.mean) == np.ndim(step.std) == 0


def left_to_caller(standardizer: Standardizer) -> list[Any]:
    """What the caller of the network has to do with a record first, as JSON values; empty for nothing."""
    before = split_steps(standardizer)[0]
    left = PreprocManager(tuple(before)).to_json() if before else []
    if standardizer.highpass:
        left = [*left, ["highpass", {"cutoff": standardizer.highpass}]]
    return left


def preprocess(standardizer: Standardizer, signals_mv: np.ndarray) -> np.ndarray:
    """Do that part; (N, T, leads) -> (N, T, leads), float32."""
    before = split_steps(standardizer)[0]
    if before:
        random = standardizer.preprocess.random
        steps = standardizer.preprocess if random else PreprocManager(tuple(before))
        signals_mv, _ = steps(signals_mv, standardizer.sampling_rate)
    if standardizer.highpass:
        signals_mv = remove_baseline(signals_mv, standardizer.sampling_rate, standardizer.highpass)
    return np.asarray(signals_mv, dtype=np.float32)

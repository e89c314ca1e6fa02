"""Perturbation metrics with one forward pass a step and a search for patches in Python."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain_region(
    classifier: Any,
    signal: np.ndarray,
    target: int,
    values: np.ndarray,
    patch: int,
    regions: int,
    descending: bool,
    overhang: bool,
) -> float:
    """Region perturbation of one map, step by step; signal (T, 1), values (T,)."""
    samples = len(values)
    padded = np.pad(values, (0, patch))
    starts = range(samples if overhang else samples - patch + 1)
    order = np.argsort([padded[start : start + patch].sum() for start in starts])
    taken: list[int] = []
    blocked = np.zeros(samples + patch, dtype=bool)
    for start in order[::-1] if descending else order:
        mask = np.zeros(samples + patch, dtype=bool)
        mask[start : start + patch] = True
        if not (blocked & mask).any():
            taken.append(start)
            blocked |= mask
        if len(taken) == regions:
            break
    whole = _probability(classifier, signal, target)
    current, losses = signal.copy(), [0.0]
    for start in taken:
        current[start : start + patch] = 0
        losses.append(whole - _probability(classifier, current, target))
    return float(np.trapezoid(losses) / len(taken))


def plain_faithfulness(
    classifier: Any, x: np.ndarray, targets: np.ndarray, maps: np.ndarray, settings: Any
) -> np.ndarray:
    """Faithfulness correlation of one method, subset by subset; x (N, T, 1), targets (N,), maps (N, T, 1)."""
    random = np.random.RandomState(settings.seed)
    scores = []
    for signal, target, values in zip(x, targets, maps, strict=True):
        size = int(settings.subset_ratio * signal.size)
        whole = _logits(classifier, signal)[target]
        sums, losses = [], []
        for _ in range(settings.runs):
            subset = random.choice(signal.size, size, replace=False)
            less = signal.copy()
            less[subset] = 0
            losses.append(whole - _logits(classifier, less)[target])
            sums.append(values[subset].sum())
        scores.append(np.corrcoef(sums, losses)[0, 1])
    return np.array(scores)


def _logits(classifier: Any, signal: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return classifier.module(classifier.tensor(signal[None]))[0].numpy()


def _probability(classifier: Any, signal: np.ndarray, target: int) -> float:
    return float(classifier.probabilities(_logits(classifier, signal)[None])[0, target])

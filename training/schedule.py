"""Learning rate over a run: one formula for both frameworks."""

from __future__ import annotations

import math

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one optimisation step.

    Parameters
    ----------
    config : TrainConfig
        ``lr``, ``schedule``, ``warmup_epochs`` and ``epochs`` count.
    step : int
        Steps done before this one, from 0.
    steps_per_epoch : int
        Steps of one epoch.

    Returns
    -------
    float
        Constant, or linear warm-up followed by half a cosine down to a thousandth of ``lr``.
    """
    if config.schedule == "constant":
        return config.lr
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    total = max(config.epochs * steps_per_epoch - warmup, 1)
    floor = 1e-3
    return config.lr * (
        floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / total)))
    )

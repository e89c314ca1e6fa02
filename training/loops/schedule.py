"""Learning rate over a run: one formula for both frameworks, so that a resumed run needs no state of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.config import TrainOptions

_FLOOR = 1e-3  # of a cosine, as a part of the first rate
_PATIENCE, _FACTOR, _THRESHOLD = 5, 0.5, 1e-4  # of a plateau
_CYCLE = 4  # epochs in which a triangle rises; Smith: 2 to 10


def learning_rate(
    config: TrainOptions, step: int, steps_per_epoch: int, val_losses: Sequence[float] = ()
) -> float:
    """Learning rate of one optimization step.

    Loshchilov and Hutter, SGDR, ICLR 2017, arXiv:1608.03983; Smith, Cyclical Learning Rates for Training
    Neural Networks, WACV 2017, arXiv:1506.01186.
    """
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "plateau":
        return config.lr * _FACTOR ** _plateaus(val_losses)
    if config.schedule == "cyclic":
        up = _CYCLE * steps_per_epoch
        phase = abs((step / up) % 2 - 1)  # 1 at the foot of a triangle, 0 at its top
        return config.lr * (0.1 + (10 - 0.1) * (1 - phase))
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    total = max(config.epochs * steps_per_epoch - warmup, 1)
    half = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / total)))
    return config.lr * (_FLOOR + (1 - _FLOOR) * half)


def _plateaus(losses: Sequence[float]) -> int:
    """How often the loss has stopped to fall."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best * (1 - _THRESHOLD) else waited + 1
        best = min(best, loss) if waited == 0 else best
        if waited > _PATIENCE:
            count, waited = count + 1, 0
    return count

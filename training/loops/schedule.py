"""Learning rate over a run: one formula for both frameworks, so that a resumed run needs no state of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.config import TrainOptions

_FLOOR = 1e-3  # of a cosine, as a part of the first rate
_PATIENCE, _FACTOR, _THRESHOLD = 5, 0.5, 1e-4  # of a plateau
_CYCLE = 4  # epochs in which a triangle rises; Smith: 2 to 10
# of one cycle: part of the run in which the rate rises, first and last rate as parts of the highest, momenta
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
_HIGH_MOMENTUM, _LOW_MOMENTUM = 0.95, 0.85


def learning_rate(
    config: TrainOptions, step: int, steps_per_epoch: int, val_losses: Sequence[float] = ()
) -> float:
    """Learning rate of one optimization step.

    Loshchilov and Hutter, SGDR, ICLR 2017, arXiv:1608.03983; Smith, Cyclical Learning Rates for Training
    Neural Networks, WACV 2017, arXiv:1506.01186; Smith and Topin, Super-Convergence, 2018, arXiv:1708.07120.
    """
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "plateau":
        return config.lr * _FACTOR ** _plateaus(val_losses)
    if config.schedule == "cyclic":
        up = _CYCLE * steps_per_epoch
        phase = abs((step / up) % 2 - 1)  # 1 at the foot of a triangle, 0 at its top
        return config.lr * (0.1 + (10 - 0.1) * (1 - phase))
    if config.schedule == "step":
        return config.lr * config.step_factor ** (step // (steps_per_epoch * config.step_epochs))
    if config.schedule == "one_cycle":
        return _one_cycle(
            step / (config.epochs * steps_per_epoch), *(config.lr * r for r in (_FIRST, 1, _LAST))
        )
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    total = max(config.epochs * steps_per_epoch - warmup, 1)
    half = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / total)))
    return config.lr * (_FLOOR + (1 - _FLOOR) * half)


def momentum(config: TrainOptions, step: int, steps_per_epoch: int) -> float | None:
    """Momentum, or Adam's beta1, of one optimization step; None where it stays as it is.

    Smith, A disciplined approach to neural network hyper-parameters, 2018, arXiv:1803.09820.
    """
    if config.schedule != "one_cycle":
        return None
    part = step / (config.epochs * steps_per_epoch)
    return _one_cycle(part, _HIGH_MOMENTUM, _LOW_MOMENTUM, _HIGH_MOMENTUM)


def _one_cycle(part: float, first: float, middle: float, last: float) -> float:
    """Half a cosine from the first value to the middle one, and another one to the last."""
    if part < _RISE:
        return _half_cosine(part / _RISE, first, middle)
    return _half_cosine(min(1.0, (part - _RISE) / (1 - _RISE)), middle, last)


def _half_cosine(part: float, start: float, end: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))


def _plateaus(losses: Sequence[float]) -> int:
    """How often the loss has stopped to fall."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best * (1 - _THRESHOLD) else waited + 1
        best = min(best, loss) if waited == 0 else best
        if waited > _PATIENCE:
            count, waited = count + 1, 0
    return count

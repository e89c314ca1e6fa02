"""Optimizers of Keras models, and the moving average of their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from training.config import TrainOptions


def build_optimizer(config: TrainOptions, model: keras.Model) -> keras.optimizers.Optimizer:
    """Optimizer of a run; weight decay leaves biases and normalization alone."""
    options: dict[str, Any] = {"clipnorm": config.clip_norm or None}
    if config.clip_total:
        options["global_clipnorm"] = config.clip_total
    if config.weight_decay:
        options["weight_decay"] = config.weight_decay
    if config.accumulate > 1:
        options["gradient_accumulation_steps"] = config.accumulate
    if config.ema:
        options |= {"use_ema": True, "ema_momentum": config.ema}
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            config.lr, momentum=config.momentum, nesterov=config.nesterov, **options
        )
    else:
        kind = keras.optimizers.AdamW if config.weight_decay else keras.optimizers.Adam
        amsgrad = config.optimizer == "amsgrad"
        optimizer = kind(config.lr, beta_2=config.beta2, amsgrad=amsgrad, **options)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(
            var_list=[v for v in model.trainable_variables if len(v.shape) < 2]
        )
    return optimizer


class _Momentum(keras.Variable):
    """A momentum that changes while a compiled step runs."""

    def __ne__(self, value: object) -> bool:  # SGD compares its momentum with 0 to see whether it has any
        return True


def _attribute(optimizer: keras.optimizers.Optimizer) -> str:
    return "momentum" if hasattr(optimizer, "momentum") else "beta_1"


def follow_momentum(optimizer: keras.optimizers.Optimizer) -> None:
    """Prepare a built optimizer for `set_momentum`."""
    if keras.backend.backend() == "tensorflow":  # whose compiled step reads plain numbers once
        name = _attribute(optimizer)
        first = np.float32(getattr(optimizer, name))
        setattr(optimizer, name, _Momentum(first, trainable=False, name=name))


def set_momentum(optimizer: keras.optimizers.Optimizer, value: float) -> None:
    """Set momentum, or Adam's beta1, of the next step."""
    name = _attribute(optimizer)
    present = getattr(optimizer, name)
    if isinstance(present, keras.Variable):
        present.assign(value)
    else:
        setattr(optimizer, name, value)


@contextlib.contextmanager
def averages_in_place(model: keras.Model) -> Iterator[None]:
    """The moving averages are the model's weights inside the block."""
    weights = [keras.ops.copy(v.value) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)

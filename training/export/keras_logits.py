"""A Keras model on the PyTorch backend without its last activation."""

from __future__ import annotations

import keras
from torch import Tensor, nn


class KerasLogits(nn.Module):
    """Standardized windows -> logits, by a model whose last layer is the dense head."""

    def __init__(self, model: keras.Model):
        super().__init__()
        head = model.layers[-1]
        linear = keras.layers.Dense(head.units, dtype="float32", name="head")
        self.network = keras.Model(model.input, linear(head.input))
        for new, old in zip(linear.weights, head.weights, strict=True):
            new.assign(old.value)

    def forward(self, signals: Tensor) -> Tensor:
        return self.network(signals, training=False)

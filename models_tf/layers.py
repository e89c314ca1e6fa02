"""Layers that the Keras models share. Everything is `keras.ops`, so every Keras backend runs it."""

from __future__ import annotations

import keras
from keras import ops

from utils.errors import UsageError, nearest

ACTIVATIONS = ("sigmoid", "softmax")


@keras.saving.register_keras_serializable("twelvelead")
class AttentionPool(keras.layers.Layer):
    """Additive attention that sums a sequence into one vector and tells the weights it used.

    ``u = tanh(x W + b)``, ``a = softmax(u v)`` over the positions, output ``sum_t a_t x_t``. The bias has
    one row for each position, as in IMLE-Net, so the sequence length is fixed when the layer is built.

    Parameters
    ----------
    units : int
        Size of the hidden projection.
    **kwargs : object
        Usual layer arguments.

    Notes
    -----
    Called on (n, T, C) it returns the pair (n, C) and (n, T); the weights sum to 1 over T.

    References
    ----------
    Reddy et al., IMLE-Net, IEEE SMC 2021, doi:10.1109/SMC52423.2021.9658706.
    """

    def __init__(self, units: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        _, positions, channels = input_shape
        normal = keras.initializers.RandomNormal(stddev=0.05)
        self.projection = self.add_weight(shape=(channels, self.units), initializer=normal, name="projection")
        self.bias = self.add_weight(shape=(positions, self.units), initializer="zeros", name="bias")
        self.score = self.add_weight(
            shape=(self.units, 1), initializer=keras.initializers.RandomNormal(stddev=0.05), name="score"
        )

    def call(self, inputs):
        hidden = ops.tanh(ops.matmul(inputs, self.projection) + self.bias)
        weights = ops.softmax(ops.matmul(hidden, self.score), axis=1)
        pooled = ops.sum(inputs * weights, axis=1)
        return pooled, ops.squeeze(weights, axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2]), (input_shape[0], input_shape[1])

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def probabilities(features, num_classes: int, activation: str):
    """Classification head in float32, whatever the precision below it.

    Parameters
    ----------
    features : keras tensor, shape (B, F)
        Penultimate features.
    num_classes : int
        Number of outputs.
    activation : str
        ``sigmoid`` for independent labels, ``softmax`` for exclusive ones.

    Returns
    -------
    keras tensor, shape (B, num_classes)
        Probabilities.

    Raises
    ------
    UsageError
        Another activation, whose outputs would not be probabilities.
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation '{activation}': {nearest(activation, ACTIVATIONS)}")
    return keras.layers.Dense(num_classes, activation=activation, dtype="float32", name="head")(features)

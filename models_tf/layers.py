"""Layers that the Keras models share. Everything is `keras.ops`, so every Keras backend runs it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

import models_tf.backend  # noqa: F401  (float32 products, whoever imports the layers)
from utils.errors import UsageError, nearest
from utils.feature_info import FeatureInfo, Grid

ACTIVATIONS = ("sigmoid", "softmax")


@keras.saving.register_keras_serializable("twelvelead")
class AttentionPool(keras.layers.Layer):
    """Additive attention that sums a sequence into one vector; it also returns the weights.

    ``u = tanh(x W + b)``, ``a = softmax(u v)`` over the positions, output ``sum_t a_t x_t``. The bias has
    one row for each position, as in IMLE-Net, so the sequence length is fixed when the layer is built.

    ``units``: size of the hidden projection.

    Called on (n, T, C) it returns the pair (n, C) and (n, T); the weights sum to 1 over T.

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


def _sums(x):
    """Sums over the first axis; on CPU a product with ones is three times as fast as `ops.sum`."""
    rows = ops.shape(x)[0]
    sums = ops.matmul(ops.ones((1, rows), dtype=x.dtype), ops.reshape(x, (rows, -1)))
    return ops.reshape(sums, x.shape[1:])


def _channel_sums(x):
    return ops.sum(ops.reshape(_sums(x), (-1, x.shape[-1])), axis=0)


@ops.custom_gradient
def _moments(x):
    """Mean and mean square of each channel, shape (2, C)."""
    count = ops.cast(ops.shape(x)[0] * math.prod(x.shape[1:-1]), x.dtype)

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream  # backends pass it differently
        by_mean, by_square = ops.unstack(upstream / count)
        return (2.0 * by_square) * x + by_mean

    return ops.stack([_channel_sums(x), _channel_sums(ops.square(x))]) / count, gradient


@ops.custom_gradient
def _scale_and_shift(x, scale, shift):
    """``scale x + shift``, channel by channel."""

    def gradient(*arguments, upstream=None):
        dy = arguments[0] if upstream is None else upstream
        return scale * dy, _channel_sums(dy * x), _channel_sums(dy)

    return scale * x + shift, gradient


@ops.custom_gradient
def _add_row(x, row):
    """Add the same (T, C) to every element of the batch."""

    def gradient(*arguments, upstream=None):
        dy = arguments[0] if upstream is None else upstream
        return dy, _sums(dy)

    return x + row, gradient


@keras.saving.register_keras_serializable("twelvelead")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalization over the last axis, with a cheaper training step.

    Keras differentiates the mean and the variance operation by operation. Here their gradient is written out
    and the sums are matrix products. Weights, names, outputs and moving averages are those of Keras' layer.

    ``deferred``: give ``(x, scale, shift)`` instead of ``scale x + shift``. `Conv1D` takes the
        scale into its kernel, and `ScaleAndShift` applies both; so only x has to be kept for the
        backward pass.
    ``**kwargs``: arguments of `keras.layers.BatchNormalization`; ``axis`` stays the last one.

    The variance is E[x^2] - E[x]^2 in float32, as in TensorFlow's synchronized variant.

    Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv:1502.03167.
    """

    def __init__(self, deferred: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.deferred = deferred

    def call(self, inputs, training=None, mask=None):
        on_batch = training and self.trainable
        if not (on_batch or self.deferred):
            return super().call(inputs, training=False, mask=mask)
        x = ops.cast(inputs, "float32")
        mean, variance = self._batch_statistics(x) if on_batch else (self.moving_mean, self.moving_variance)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        shift = self.beta - mean * scale
        if self.deferred:
            return inputs, scale, shift
        return ops.cast(_scale_and_shift(x, scale, shift), self.compute_dtype)

    def _batch_statistics(self, x):
        """Mean and variance of a batch, which move the averages along."""
        mean, mean_square = ops.unstack(_moments(x))
        variance = ops.maximum(mean_square - ops.square(mean), 0.0)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.stop_gradient(batch) * (1.0 - self.momentum))
        return mean, variance

    def compute_output_shape(self, input_shape):
        channels = (input_shape[-1],)
        return (tuple(input_shape), channels, channels) if self.deferred else tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "deferred": self.deferred}


@keras.saving.register_keras_serializable("twelvelead")
class ScaleAndShift(keras.layers.Layer):
    """Apply a deferred `BatchNormalization`: ``(x, scale, shift)`` -> ``scale x + shift``."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)  # scale and shift stay float32

    def call(self, inputs):
        x, scale, shift = inputs
        return ops.cast(_scale_and_shift(ops.cast(x, "float32"), scale, shift), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable("twelvelead")
class Conv1D(keras.layers.Layer):
    """Convolution of a deferred `BatchNormalization`, with the weights of `keras.layers.Conv1D`.

    With zeros beyond both ends ("same"), ``conv(scale x + shift) = conv'(x) + conv(shift)``: conv' has the
    scale in its kernel, and conv(shift), the convolution of a constant, is one row for the whole batch. The
    normalized signal itself is never made: that is a pass over memory less, and several in the backward pass,
    where scale and shift get their gradients from small arrays.

    ``filters``: channels of the output.
    ``kernel_size``: positions of the kernel.

    The name is that of Keras' layer because weights are saved by the class that holds them.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs):
        super().__init__(autocast=False, **kwargs)  # scale and shift stay float32
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, input_shape):
        shape = (self.kernel_size, input_shape[0][-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        x, scale, shift = inputs
        scaled = ops.cast(self.kernel * scale[:, None], x.dtype)
        outputs = ops.conv(x, scaled, strides=self.strides, padding="same")
        shifts = ops.broadcast_to(shift, (1, *x.shape[1:]))
        row = ops.conv(shifts, self.kernel, strides=self.strides, padding="same")[0] + self.bias
        return _add_row(outputs, ops.cast(row, outputs.dtype))

    def compute_output_shape(self, input_shape):
        batch, time, _ = input_shape[0]
        return batch, -(-time // self.strides), self.filters

    def get_config(self):
        sizes = {"filters": self.filters, "kernel_size": self.kernel_size, "strides": self.strides}
        return {**super().get_config(), **sizes}


def same(grid: Grid, length: int, kernel: int, stride: int = 1) -> tuple[Grid, int]:
    """Columns behind a layer with "same" padding on `length` columns, and their number."""
    columns = -(-length // stride)
    padding = max((columns - 1) * stride + kernel - length, 0)
    return grid.through(kernel, stride, padding // 2), columns


def feature_tensors(model: keras.Model, infos: Sequence[FeatureInfo]) -> list:
    """Symbolic outputs that ``feature_info`` describes, for a model that also returns them."""
    outputs = {operation.name: operation.output for operation in model.operations}
    return [outputs[info.name] for info in infos]


def probabilities(features, num_classes: int, activation: str):
    """Classification head in float32, whatever the precision below it.

    Shapes: features (B, F) -> (B, num_classes).
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation '{activation}': {nearest(activation, ACTIVATIONS)}")
    return keras.layers.Dense(num_classes, activation=activation, dtype="float32", name="head")(features)

"""IMLE-Net, Mousavi and Rajpurkar written layer for layer in stock Keras, as the reference has them.

They are the yardstick of the speed benchmark: the same mathematics with nothing done for speed. A test holds
that ours give the same outputs from the same weights. They take signals (B, 1000, 12).
"""

from __future__ import annotations

import keras
from keras import layers, ops


class PlainAttention(layers.Layer):
    """Additive attention, one operation after another; gives the weighted sum over the sequence."""

    def build(self, input_shape):
        _, positions, channels = input_shape
        self.w = self.add_weight(shape=(channels, 64), name="w")
        self.b = self.add_weight(shape=(positions, 64), initializer="zeros", name="b")
        self.v = self.add_weight(shape=(64, 1), name="v")

    def call(self, inputs):
        scores = ops.softmax(ops.matmul(ops.tanh(ops.matmul(inputs, self.w) + self.b), self.v), axis=1)
        return ops.sum(inputs * scores, axis=1)


def _imle_block(x, filters: int, stride: int, normalization: type[layers.Layer]):
    shortcut = layers.Conv1D(filters, 1, strides=stride, padding="same")(x) if stride > 1 else x
    y = layers.Conv1D(filters, 8, strides=stride, padding="same")(x)
    y = normalization()(layers.ReLU()(y))
    y = layers.Conv1D(filters, 8, padding="same")(y)
    return normalization()(layers.ReLU()(layers.Add()([shortcut, y])))


def imle_net(normalization: type[layers.Layer] = layers.BatchNormalization) -> keras.Model:
    """Build the plain IMLE-Net."""
    signals = keras.Input((1000, 12))
    x = ops.reshape(ops.transpose(signals, (0, 2, 1)), (-1, 50, 1))
    x = layers.ReLU()(layers.Conv1D(32, 8, padding="same")(x))
    for filters, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        x = _imle_block(x, filters, stride, normalization)
    x = ops.reshape(PlainAttention()(x), (-1, 20, 128))
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    x = PlainAttention()(ops.reshape(PlainAttention()(x), (-1, 12, 128)))
    return keras.Model(signals, layers.Dense(5, activation="sigmoid")(x))


def mousavi() -> keras.Model:
    """Build the plain Mousavi model, with windows of 50 time steps of 12 leads."""
    signals = keras.Input((1000, 12))
    x = ops.reshape(signals, (-1, 50, 12))
    for filters, pool in ((32, True), (64, True), (128, False)):
        x = layers.Conv1D(filters, 2, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2)(x) if pool else x
    x = ops.reshape(layers.Flatten()(x), (-1, 20, 1536))
    x = layers.Flatten()(layers.Bidirectional(layers.LSTM(128, return_sequences=True))(x))
    x = layers.Dense(128, activation="relu")(x)
    return keras.Model(signals, layers.Dense(5, activation="sigmoid")(x))


def _he_conv(filters: int, stride: int = 1):
    return layers.Conv1D(filters, 16, strides=stride, padding="same", kernel_initializer="he_normal")


def rajpurkar() -> keras.Model:
    """Build the plain Rajpurkar model."""
    signals = keras.Input((1000, 12))
    x = layers.ReLU()(layers.BatchNormalization()(_he_conv(32)(signals)))
    for index in range(16):
        filters, stride = 32 * 2 ** (index // 4), 1 + index % 2
        shortcut = layers.MaxPooling1D(stride, padding="same")(x)
        if index in (4, 8, 12):
            shortcut = ops.pad(shortcut, ((0, 0), (0, 0), (0, filters // 2)))
        y = layers.ReLU()(layers.BatchNormalization()(x)) if index else x
        y = layers.ReLU()(layers.BatchNormalization()(_he_conv(filters, stride)(y)))
        x = layers.Add()([shortcut, _he_conv(filters)(layers.Dropout(0.2)(y))])
    x = layers.Flatten()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(signals, layers.Dense(5, activation="sigmoid")(x))

"""Rajpurkar and Hannun's network: a deep one-dimensional residual network with pre-activation blocks."""

from __future__ import annotations

import keras
from keras import layers, ops

from models_tf.layers import BatchNormalization, probabilities
from models_tf.registry import register_model

_DOUBLE_EVERY = 4  # blocks with the same number of filters


def _conv(filters: int, kernel: int, stride: int = 1):
    return layers.Conv1D(filters, kernel, strides=stride, padding="same", kernel_initializer="he_normal")


def _normalised_relu(x):
    return layers.ReLU()(BatchNormalization()(x))


def _shortcut(x, filters: int, stride: int):
    """Max-pooling in time and zero channels behind the old ones: a shortcut without weights."""
    if stride > 1:
        x = layers.MaxPooling1D(stride, padding="same")(x)
    if filters > x.shape[-1]:
        x = ops.pad(x, ((0, 0), (0, 0), (0, filters - x.shape[-1])))
    return x


@register_model
def rajpurkar(
    num_classes: int = 5,
    samples: int = 1000,
    leads: int = 12,
    kernel: int = 16,
    filters: int = 32,
    blocks: int = 16,
    dropout: float = 0.2,
    activation: str = "sigmoid",
) -> keras.Model:
    """Build Rajpurkar and Hannun's 34-layer residual network in the form the IMLE-Net study compares with.

    References
    ----------
    Rajpurkar et al., Cardiologist-Level Arrhythmia Detection with Convolutional Neural Networks,
    arXiv:1707.01836; Hannun et al., Nature Medicine 25 (2019), 65-69, doi:10.1038/s41591-018-0268-3.
    """
    signals = keras.Input((samples, leads), name="signals")
    x = _normalised_relu(_conv(filters, kernel)(signals))
    for index in range(blocks):
        width = filters * 2 ** (index // _DOUBLE_EVERY)
        stride = 1 + index % 2
        # the stem's batch norm and ReLU already stand before the first block
        main = _normalised_relu(x) if index else x
        main = _normalised_relu(_conv(width, kernel, stride)(main))
        main = _conv(width, kernel)(layers.Dropout(dropout)(main))
        x = _shortcut(x, width, stride) + main
    x = layers.Flatten()(_normalised_relu(x))
    return keras.Model(signals, probabilities(x, num_classes, activation), name="rajpurkar")

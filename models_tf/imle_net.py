"""IMLE-Net: attention at the beat, the rhythm and the channel level.

Every lead is cut into windows of half a second. One residual convolutional network reads each window, and
attention over its positions gives the *beat* vector; a bidirectional LSTM and attention over the windows of
a lead give its *rhythm* vector; attention over the leads gives the *channel* vector, which is classified.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from models_tf.layers import AttentionPool, BatchNormalization, Conv1D, ScaleAndShift, probabilities
from models_tf.registry import register_model
from utils.errors import UsageError


def _conv(x, filters: int, kernel: int, stride: int = 1):
    """Convolution of a tensor, or of what a deferred batch norm gives."""
    if isinstance(x, tuple):
        return Conv1D(filters, kernel, strides=stride)(x)
    return layers.Conv1D(filters, kernel, strides=stride, padding="same")(x)


def _applied(x):
    """The tensor itself, or the normalised one where batch norm was deferred."""
    return ScaleAndShift()(x) if isinstance(x, tuple) else x


def _residual_block(x, filters: int, stride: int, kernel: int, momentum: float):
    """Convolution - ReLU - batch norm - convolution, plus the shortcut, ReLU, batch norm (in that order)."""

    def normalised_relu(y):
        return BatchNormalization(deferred=True, momentum=momentum)(layers.ReLU()(y))

    main = normalised_relu(_conv(x, filters, kernel, stride))
    shortcut = _applied(x) if stride == 1 else _conv(x, filters, 1, stride)
    return normalised_relu(shortcut + _conv(main, filters, kernel))


@register_model
def imle_net(
    num_classes: int = 5,
    samples: int = 1000,
    leads: int = 12,
    window: int = 50,
    kernel: int = 8,
    filters: int = 32,
    blocks: Sequence[int] = (2, 2, 2),
    lstm_units: int = 64,
    attention_units: int = 64,
    dropout: float = 0.0,
    momentum: float = 0.99,
    activation: str = "sigmoid",
) -> keras.Model:
    """Build IMLE-Net.

    References
    ----------
    Reddy et al., IMLE-Net: An Interpretable Multi-level Multi-channel Model for ECG Classification,
    IEEE SMC 2021, pp. 1068-1074, doi:10.1109/SMC52423.2021.9658706.
    """
    if samples % window:
        raise UsageError(f"imle_net: samples ({samples}) must be a multiple of window ({window})")
    windows = samples // window
    signals = keras.Input((samples, leads), name="signals")

    # Every window of every lead becomes one row: the convolutions share their weights over all of them.
    x = ops.reshape(ops.transpose(signals, (0, 2, 1)), (-1, window, 1))
    x = layers.ReLU()(_conv(x, filters, kernel))
    for group, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if group > 0 and index == 0 else 1
            x = _residual_block(x, filters * 2**group, stride, kernel, momentum)

    def drop(vector):
        return layers.Dropout(dropout)(vector) if dropout else vector

    beat, _ = AttentionPool(attention_units, name="beat_attention")(_applied(x))
    rhythm = ops.reshape(drop(beat), (-1, windows, beat.shape[-1]))
    rhythm = layers.Bidirectional(layers.LSTM(lstm_units, return_sequences=True), name="rhythm_lstm")(rhythm)
    rhythm, _ = AttentionPool(attention_units, name="rhythm_attention")(rhythm)
    channel = ops.reshape(drop(rhythm), (-1, leads, 2 * lstm_units))
    channel, _ = AttentionPool(attention_units, name="channel_attention")(channel)
    return keras.Model(signals, probabilities(drop(channel), num_classes, activation), name="imle_net")


def attention_maps(
    model: keras.Model, signals: np.ndarray, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the three attention levels of an IMLE-Net.

    Shapes: signals (B, T, leads) -> beat (B, leads, windows, positions), rhythm (B, leads,
    windows), channel (B, leads).
    """
    names = ("beat_attention", "rhythm_attention", "channel_attention")
    if not {layer.name for layer in model.layers}.issuperset(names):
        raise UsageError(f"model '{model.name}' has no beat, rhythm and channel attention: only imle_net has")
    _, samples, leads = model.input.shape
    signals = np.asarray(signals, dtype="float32")
    records, length = signals.shape[:2]
    if length % samples:
        raise UsageError(f"attention needs records of {samples} samples or a multiple of it, not {length}")
    crops = length // samples
    rows = signals.reshape(records * crops, samples, leads)

    reader = keras.Model(model.input, [model.get_layer(name).output[1] for name in names])
    maps: list[list[np.ndarray]] = [[], [], []]
    for start in range(0, len(rows), batch_size):
        outputs = reader(ops.convert_to_tensor(rows[start : start + batch_size]), training=False)
        for level, values in zip(maps, outputs, strict=True):
            level.append(ops.convert_to_numpy(ops.cast(values, "float32")))
    beat, rhythm, channel = (np.concatenate(level) for level in maps)

    # rhythm x channel of each crop is a distribution over its windows; side by side and divided by the number
    # of crops they are one over the whole record, which splits into a channel and a rhythm part again
    share = rhythm.reshape(records, crops, leads, -1) * channel.reshape(records, crops, leads, 1) / crops
    share = share.transpose(0, 2, 1, 3).reshape(records, leads, -1)
    beat = beat.reshape(records, crops, leads, -1, beat.shape[-1]).transpose(0, 2, 1, 3, 4)
    channel = share.sum(axis=2)
    return beat.reshape(*share.shape, -1), share / channel[:, :, None], channel

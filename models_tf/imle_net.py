"""IMLE-Net: attention at the beat, the rhythm and the channel level.

Every lead is cut into windows of half a second. One residual convolutional network reads each window, and
attention over its positions gives the *beat* vector; a bidirectional LSTM and attention over the windows of
a lead give its *rhythm* vector; attention over the leads gives the *channel* vector, which is classified.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from models_tf.layers import AttentionPool, BatchNormalization, Conv1D, ScaleAndShift, probabilities, same
from models_tf.registry import register_model
from utils.errors import DataError, UsageError
from utils.feature_info import FeatureInfo, Grid, mark_explained
from utils.model_registry import ModelCase, Published


def _conv(x, filters: int, kernel: int, stride: int = 1):
    """Convolution of a tensor, or of what a deferred batch norm gives."""
    if isinstance(x, tuple):
        return Conv1D(filters, kernel, strides=stride)(x)
    return layers.Conv1D(filters, kernel, strides=stride, padding="same")(x)


def _applied(x):
    """The tensor itself, or the normalized one where batch norm was deferred."""
    return ScaleAndShift()(x) if isinstance(x, tuple) else x


def _residual_block(x, filters: int, stride: int, kernel: int, momentum: float):
    """Convolution - ReLU - batch norm - convolution, plus the shortcut, ReLU, batch norm (in that order)."""

    def normalized_relu(y):
        return BatchNormalization(deferred=True, momentum=momentum)(layers.ReLU()(y))

    main = normalized_relu(_conv(x, filters, kernel, stride))
    shortcut = _applied(x) if stride == 1 else _conv(x, filters, 1, stride)
    return normalized_relu(shortcut + _conv(main, filters, kernel))


@register_model(
    title="IMLE-Net",
    doi="10.1109/SMC52423.2021.9658706",
    parameters=748_517,
    published=(
        Published(
            "superdiagnostic",
            {"macro_roc_auc": 0.9216, "mean_accuracy_percent": 88.85, "max_f1": 0.8057},
            "10.1109/SMC52423.2021.9658706",
        ),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "window": 40, "filters": 4, "lstm_units": 4, "attention_units": 4},
            parameters=11_177,
            samples=(80, 400),
            leads=(2, 12),
        ),
        ModelCase(
            {
                "samples": 150, "leads": 2, "window": 75, "kernel": 3, "filters": 2, "blocks": (1, 1),
                "lstm_units": 2, "attention_units": 2, "dropout": 0.3,
            },
            parameters=427,
            name="short kernels",
        ),
    ),
)  # fmt: skip
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
    grid, length = same(Grid(), window, kernel)
    grids = []
    for group, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if group > 0 and index == 0 else 1
            x = _residual_block(x, filters * 2**group, stride, kernel, momentum)
            grid, length = same(grid, length, kernel, stride)
            grid, _ = same(grid, length, kernel)
        grids.append(grid)

    def drop(vector):
        return layers.Dropout(dropout)(vector) if dropout else vector

    beat, _ = AttentionPool(attention_units, name="beat_attention")(_applied(x))
    rhythm = ops.reshape(drop(beat), (-1, windows, beat.shape[-1]))
    rhythm = layers.Bidirectional(layers.LSTM(lstm_units, return_sequences=True), name="rhythm_lstm")(rhythm)
    rhythm, _ = AttentionPool(attention_units, name="rhythm_attention")(rhythm)
    channel = ops.reshape(drop(rhythm), (-1, leads, 2 * lstm_units))
    channel, _ = AttentionPool(attention_units, name="channel_attention")(channel)
    model = keras.Model(signals, probabilities(drop(channel), num_classes, activation), name="imle_net")
    relus = [layer.name for layer in model.layers if isinstance(layer, layers.ReLU)]  # two in each block
    infos: list[FeatureInfo] = []
    for group, grid in enumerate(grids):
        name, middle = relus[2 * sum(blocks[: group + 1])], (grid.stride - 1) / 2
        infos.append(grid.info(name, filters * 2**group, middle=middle, leads="each", window=window))
    model.feature_info = mark_explained(infos)
    model.attention = functools.partial(attention, model)
    return model


def attention(model: keras.Model, signals: np.ndarray) -> dict[str, np.ndarray]:
    """Attention levels of an IMLE-Net, see `attention_maps`, and ``heatmap``, each sample's share of it.

    Shapes: signals (B, T, leads) -> heatmap (B, T, leads), which sums to 1 for each record.
    """
    beat, rhythm, channel = attention_maps(model, signals)
    heatmaps = [
        attention_heatmap(*level, signals.shape[1]) for level in zip(beat, rhythm, channel, strict=True)
    ]
    return {"beat": beat, "rhythm": rhythm, "channel": channel, "heatmap": np.stack(heatmaps)}


def attention_heatmap(beat: np.ndarray, rhythm: np.ndarray, channel: np.ndarray, samples: int) -> np.ndarray:
    """Share of attention of every sample: beat x rhythm x channel, a distribution over the whole record.

    The positions inside a window are interpolated to its samples: position j of a network that strides by s
    stands for samples j*s to j*s + s - 1, so it sits at their middle; beyond the outermost middles its value
    is held. Each window is then scaled to its mass rhythm x channel.

    Shapes: beat (12, windows, positions), rhythm (12, windows), channel (12,) -> (samples, 12).
    """
    beat, rhythm, channel = (np.asarray(a, dtype=np.float64) for a in (beat, rhythm, channel))
    if beat.ndim != 3 or rhythm.shape != beat.shape[:2] or channel.shape != beat.shape[:1]:
        raise DataError(
            f"attention shapes do not fit: beat {beat.shape}, rhythm {rhythm.shape}, {channel.shape}"
        )
    for name, level in (("beat", beat), ("rhythm", rhythm), ("channel", channel)):
        if not (level >= 0).all() or not np.allclose(level.sum(axis=-1), 1, atol=1e-3):
            raise DataError(f"the {name} attention is not a softmax: it must be >= 0 and sum to 1")
    leads, windows, positions = beat.shape
    if samples % windows:
        raise DataError(f"{samples} samples cannot be cut into {windows} equal windows")
    window = samples // windows
    stride = math.ceil(window / positions)
    middles = np.arange(positions) * stride + (stride - 1) / 2
    fine = np.array([np.interp(np.arange(window), middles, values) for values in beat.reshape(-1, positions)])
    fine = fine.reshape(leads, windows, window)
    fine *= (rhythm * channel[:, None])[:, :, None] / fine.sum(axis=2, keepdims=True)
    return fine.reshape(leads, samples).T


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

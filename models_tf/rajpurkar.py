"""Rajpurkar and Hannun's network: a deep one-dimensional residual network with pre-activation blocks."""

from __future__ import annotations

import keras
from keras import layers, ops

from models_tf.layers import BatchNormalization, probabilities, same
from models_tf.registry import register_model
from utils.feature_info import FeatureInfo, Grid, mark_explained
from utils.model_registry import ModelCase, Published

_DOUBLE_EVERY = 4  # blocks with the same number of filters


def _conv(filters: int, kernel: int, stride: int = 1):
    return layers.Conv1D(filters, kernel, strides=stride, padding="same", kernel_initializer="he_normal")


def _normalized_relu(x):
    return layers.ReLU()(BatchNormalization()(x))


def _shortcut(x, filters: int, stride: int):
    """Max-pooling in time and zero channels behind the old ones: a shortcut without weights."""
    if stride > 1:
        x = layers.MaxPooling1D(stride, padding="same")(x)
    if filters > x.shape[-1]:
        x = ops.pad(x, ((0, 0), (0, 0), (0, filters - x.shape[-1])))
    return x


@register_model(
    title="Rajpurkar",
    doi="10.1038/s41591-018-0268-3",
    parameters=10_483_621,
    clip_norm=1.0,
    published=(
        Published(
            "superdiagnostic",
            {"macro_roc_auc": 0.9155, "mean_accuracy_percent": 87.91, "max_f1": 0.7895},
            "10.1109/SMC52423.2021.9658706",
        ),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "filters": 4, "blocks": 4, "kernel": 6},
            parameters=1_825,
            samples=(100, 333),
            leads=(1, 12),
        ),
        ModelCase(
            {"samples": 500, "leads": 2, "filters": 2, "blocks": 13, "kernel": 3},
            parameters=4_435,
            name="coarse",
        ),
    ),
)
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

    Rajpurkar et al., Cardiologist-Level Arrhythmia Detection with Convolutional Neural Networks,
    arXiv:1707.01836; Hannun et al., Nature Medicine 25 (2019), 65-69, doi:10.1038/s41591-018-0268-3.
    """
    signals = keras.Input((samples, leads), name="signals")
    x = _normalized_relu(_conv(filters, kernel)(signals))
    stem, length = same(Grid(), samples, kernel)
    grid = stem
    infos: list[FeatureInfo] = []
    for index in range(blocks):
        width = filters * 2 ** (index // _DOUBLE_EVERY)
        stride = 1 + index % 2
        # the stem's batch norm and ReLU already stand before the first block
        main = _normalized_relu(x) if index else x
        main = _normalized_relu(_conv(width, kernel, stride)(main))
        main = _conv(width, kernel)(layers.Dropout(dropout)(main))
        x = _shortcut(x, width, stride) + main
        grid, length = same(grid, length, kernel, stride)
        grid, _ = same(grid, length, kernel)
        # Even kernels look half a step to the right, again and again: what a column stands for lies between
        # the middle of its own samples, where the shortcuts lead, and the middle of what it sees through all
        # the convolutions.
        middle = (stem.middle + (grid.stride - 1) / 2 + grid.middle) / 2
        infos = infos if stride > 1 else infos[:-1]
        infos.append(grid.info(x._keras_history.operation.name, width, middle=middle))
    x = layers.Flatten()(_normalized_relu(x))
    model = keras.Model(signals, probabilities(x, num_classes, activation), name="rajpurkar")
    model.feature_info = mark_explained(infos)
    return model

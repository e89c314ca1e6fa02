"""Mousavi and Afghah's network: a small convolutional reader of windows, a bidirectional LSTM over them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from models_tf.layers import probabilities, same
from models_tf.registry import register_model
from utils.errors import UsageError, nearest
from utils.feature_info import FeatureInfo, Grid, mark_explained
from utils.model_registry import ModelCase, Published

WINDOW_LAYOUTS = ("time", "reference")


@register_model(
    title="Mousavi",
    doi="10.1109/ICASSP.2019.8683140",
    parameters=2_382_565,
    published=(
        Published(
            "superdiagnostic",
            {"macro_roc_auc": 0.8654, "mean_accuracy_percent": 84.19, "max_f1": 0.7315},
            "10.1109/SMC52423.2021.9658706",
        ),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "window": 40, "filters": (4, 8), "lstm_units": 4},
            parameters=10_249,
            samples=(80, 200),
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 160, "leads": 3, "window": 40, "filters": (4, 8), "lstm_units": 4,
                "window_layout": "reference",
            },
            parameters=10_249,
            name="reference",
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 150, "leads": 2, "window": 75, "filters": (2, 2, 2), "kernel": 5, "pool": 3,
                "lstm_units": 2, "dense_units": 3, "dropout": 0.3,
            },
            parameters=417,
            name="pools of three",
        ),
    ),
)  # fmt: skip
def mousavi(
    num_classes: int = 5,
    samples: int = 1000,
    leads: int = 12,
    window: int = 50,
    kernel: int = 2,
    pool: int = 2,
    filters: Sequence[int] = (32, 64, 128),
    lstm_units: int = 128,
    dense_units: int = 128,
    dropout: float = 0.0,
    window_layout: str = "time",
    activation: str = "sigmoid",
) -> keras.Model:
    """Build Mousavi and Afghah's network in the form the IMLE-Net study compares with.

    Mousavi and Afghah, Inter- and Intra-Patient ECG Heartbeat Classification for Arrhythmia Detection: A
    Sequence to Sequence Deep Learning Approach, ICASSP 2019, pp. 1308-1312,
    doi:10.1109/ICASSP.2019.8683140.
    """
    if samples % window:
        raise UsageError(f"mousavi: samples ({samples}) must be a multiple of window ({window})")
    if window_layout not in WINDOW_LAYOUTS:
        hint = nearest(window_layout, WINDOW_LAYOUTS)
        raise UsageError(f"mousavi: unknown window_layout '{window_layout}': {hint}")
    windows = samples // window
    signals = keras.Input((samples, leads), name="signals")

    # Every window becomes one row, so that the convolutions never look across a window's edge.
    buffer = ops.transpose(signals, (0, 2, 1)) if window_layout == "reference" else signals
    x = ops.reshape(buffer, (-1, window, leads))
    grid = Grid()
    infos: list[FeatureInfo] = []
    covers = "all" if window_layout == "time" else "in turn"
    for index, count in enumerate(filters):
        if index:
            x = layers.MaxPooling1D(pool)(x)
            grid = grid.through(pool, pool, padding=0)
        convolution = layers.Conv1D(count, kernel, padding="same", activation="relu")
        x = convolution(x)
        grid, _ = same(grid, x.shape[1], kernel)
        infos.append(grid.info(convolution.name, count, leads=covers, window=window))

    def drop(vector):
        return layers.Dropout(dropout)(vector) if dropout else vector

    x = ops.reshape(x, (-1, windows, x.shape[1] * x.shape[2]))
    x = layers.Bidirectional(layers.LSTM(lstm_units, return_sequences=True), name="window_lstm")(x)
    x = layers.Dense(dense_units, activation="relu")(drop(layers.Flatten()(x)))
    model = keras.Model(signals, probabilities(drop(x), num_classes, activation), name="mousavi")
    model.feature_info = mark_explained(infos)
    return model

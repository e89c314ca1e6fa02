"""A Keras model with an answer for each sample, as a plugin."""

import keras
from keras import layers

from models_tf import register_model
from models_tf.layers import same
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase


@register_model(title="Sample net", cases=(ModelCase({"samples": 100, "leads": 2}, parameters=197),))
def samplenet(num_classes=5, samples=1000, leads=12, width=8, activation="sigmoid") -> keras.Model:
    """One convolution, and the same linear layer for each sample."""
    signals = keras.Input((samples, leads), name="signals")
    body = layers.Conv1D(width, 9, padding="same", activation="relu", name="body")
    outputs = layers.Dense(num_classes, activation=activation, name="head")(body(signals))
    model = keras.Model(signals, outputs, name="samplenet")
    grid, _ = same(Grid(), samples, 9)
    model.feature_info = mark_explained([grid.info("body", width)])
    return model

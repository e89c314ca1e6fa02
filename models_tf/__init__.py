"""Keras 3 models written with `keras.ops`: the same weights run on the tensorflow, torch and jax backends."""

from models_tf import backend as _backend  # noqa: F401  (first)
from models_tf import imle_net as _imle_net  # noqa: F401  (the models register themselves)
from models_tf import mousavi as _mousavi  # noqa: F401
from models_tf import rajpurkar as _rajpurkar  # noqa: F401
from models_tf.registry import create_model, list_models, model_options, register_model

__all__ = ["create_model", "list_models", "model_options", "register_model"]

"""Keras 3 models written with `keras.ops`: the same weights run on the tensorflow, torch and jax backends."""

from models_tf.registry import create_model, list_models, model_info, model_options, register_model

__all__ = ["create_model", "list_models", "model_info", "model_options", "register_model"]

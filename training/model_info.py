"""What is known of a model of either framework; imports neither."""

from __future__ import annotations

import models_tf
import models_torch
from utils.errors import UsageError, nearest
from utils.model_registry import ModelInfo


def model_info(name: str) -> ModelInfo:
    """Properties of a registered model."""
    for package in (models_torch, models_tf):
        if name in package.list_models():
            return package.model_info(name)
    names = sorted([*models_torch.list_models(), *models_tf.list_models()])
    raise UsageError(f"unknown model '{name}': {nearest(name, names)}")

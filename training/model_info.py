"""The registries of both frameworks; a framework is imported when one of its models is built."""

from __future__ import annotations

from typing import Any

import models_tf
import models_torch
from utils.errors import UsageError, nearest
from utils.model_registry import ModelInfo

# names of classes in published code
SPELLINGS = {"ECGConvNet": "ecgconvnet", "ECGResNet": "ecgresnet", "ECGInceptionNet": "ecginceptionnet"}
PACKAGES: dict[str, Any] = {"keras": models_tf, "torch": models_torch}


def model_names(framework: str = "") -> list[str]:
    """Names of the models of one framework or of both."""
    return sorted(n for key in PACKAGES if framework in ("", key) for n in PACKAGES[key].list_models())


def our_model(name: str) -> str:
    """Name of a model for the name that published code gives it."""
    return SPELLINGS.get(name, name)


def package_of(model: str, framework: str = "") -> Any:
    """The package that has a model; ``framework``: whose names an error lists."""
    for package in PACKAGES.values():
        if model in package.list_models():
            return package
    raise UsageError(f"unknown model '{model}': {nearest(model, model_names(framework))}")


def model_info(name: str) -> ModelInfo:
    """Properties of a registered model."""
    info: ModelInfo = package_of(name).model_info(name)
    return info

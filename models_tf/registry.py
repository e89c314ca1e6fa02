"""The register of Keras models: a name gives a builder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from utils.errors import UsageError, nearest

_MODELS: dict[str, Callable[..., Any]] = {}


def register_model(builder: Callable[..., Any]) -> Callable[..., Any]:
    """Register a builder under its function name (use as a decorator).

    Parameters
    ----------
    builder : callable
        ``builder(num_classes=5, **config) -> keras.Model`` taking signals (B, T, leads).

    Returns
    -------
    callable
        The builder, unchanged.
    """
    _MODELS[builder.__name__] = builder
    return builder


def list_models() -> list[str]:
    """Names that `create_model` knows.

    Returns
    -------
    list of str
        Sorted names.
    """
    return sorted(_MODELS)


def create_model(name: str, num_classes: int = 5, **config: Any):
    """Build a Keras model by name.

    Parameters
    ----------
    name : str
        One of `list_models()`.
    num_classes : int
        Number of outputs.
    **config : object
        Sizes and options of the builder; defaults are the reference's.

    Returns
    -------
    keras.Model
        Takes standardised signals (B, T, leads), returns probabilities (B, num_classes). ``model.config``
        holds the name and every option as JSON values: ``create_model(**model.config)`` builds it again.

    Raises
    ------
    UsageError
        Unknown model or option; the message names the nearest valid one.
    """
    if name not in _MODELS:
        raise UsageError(f"unknown Keras model '{name}': {nearest(name, list_models())}")
    builder = _MODELS[name]
    parameters = inspect.signature(builder).parameters
    options = {key: p.default for key, p in parameters.items()} | {"num_classes": num_classes}
    for key, value in config.items():
        if key not in parameters:
            raise UsageError(f"unknown option '{key}' of model '{name}': {nearest(key, parameters)}")
        options[key] = value
    model = builder(**options)
    model.config = json.loads(json.dumps({"name": name, **options}))
    return model

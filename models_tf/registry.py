"""The register of Keras models: a name gives a builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utils.model_registry import ModelRegistry

_REGISTRY = ModelRegistry("Keras")


def register_model(builder: Callable[..., Any]) -> Callable[..., Any]:
    """Register a builder under its name (use as a decorator).

    Parameters
    ----------
    builder : callable
        ``builder(num_classes=5, **config) -> keras.Model`` taking signals (B, T, leads).

    Returns
    -------
    callable
        The builder, unchanged.
    """
    return _REGISTRY.register(builder)


def list_models() -> list[str]:
    """Names that `create_model` knows.

    Returns
    -------
    list of str
        Sorted names.
    """
    return _REGISTRY.names()


def model_options(name: str) -> dict[str, Any]:
    """Options of a model with their defaults.

    Parameters
    ----------
    name : str
        One of `list_models()`.

    Returns
    -------
    dict
        Name -> default.

    Raises
    ------
    UsageError
        Unknown model; the message names the nearest valid one.
    """
    return _REGISTRY.options(name)


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
    return _REGISTRY.create(name, num_classes=num_classes, **config)

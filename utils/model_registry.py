"""The registry of model builders: a name and options give a model that remembers both."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from utils.errors import UsageError, nearest


class ModelRegistry:
    """Builders by name, for one framework.

    ``framework``: how messages call it, for example ``Keras``.
    """

    def __init__(self, framework: str):
        self.framework = framework
        self._builders: dict[str, Callable[..., Any]] = {}

    def register(self, builder: Callable[..., Any]) -> Callable[..., Any]:
        """Register a function or class under its own name in lower case."""
        self._builders[builder.__name__.lower()] = builder
        return builder

    def names(self) -> list[str]:
        """Names that `create` knows."""
        return sorted(self._builders)

    def options(self, name: str) -> dict[str, Any]:
        """Options of a model with their defaults."""
        return {key: parameter.default for key, parameter in self._signature(name).items()}

    def _signature(self, name: str) -> Mapping[str, inspect.Parameter]:
        if name not in self._builders:
            raise UsageError(f"unknown {self.framework} model '{name}': {nearest(name, self.names())}")
        return inspect.signature(self._builders[name]).parameters

    def create(self, name: str, **options: Any) -> Any:
        """Build a model."""
        parameters = self._signature(name)
        for key in options:
            if key not in parameters:
                raise UsageError(f"unknown option '{key}' of model '{name}': {nearest(key, parameters)}")
        options = {key: parameter.default for key, parameter in parameters.items()} | options
        for key in {"num_classes", "samples", "leads"} & options.keys():
            if type(options[key]) is not int or options[key] < 1:
                raise UsageError(
                    f"model '{name}': {key} must be a positive whole number, not {options[key]!r}"
                )
        model = self._builders[name](**options)
        model.config = json.loads(json.dumps({"name": name, **options}))
        return model

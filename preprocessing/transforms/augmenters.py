"""Augmenters by name: functions of a training batch, applied in the order that ``--augment`` gives."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils.errors import UsageError, nearest
from utils.registry import Registry

# (signals (B, T, leads), targets (B, ...), rng, **options) -> (signals, targets)
Augmenter = Callable[..., tuple[np.ndarray, np.ndarray]]
Step = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

_AUGMENTERS: Registry[Augmenter] = Registry("augmenter")


def register_augmenter(name: str) -> Callable[[Augmenter], Augmenter]:
    """Register a function under the name that ``--augment`` takes; used as a decorator.

    Parameters
    ----------
    name : str
        Name of the augmenter.

    Returns
    -------
    callable
        The decorator. The function gets standardized signals (B, T, leads), targets (B, ...), a
        `numpy.random.Generator`, which is its only source of random numbers, and its options by name, each
        with a default; it returns new signals and targets and leaves its inputs as they are.

    Raises
    ------
    UsageError
        Another module registered an augmenter of that name; the message names both.
    """

    def decorate(function: Augmenter) -> Augmenter:
        return _AUGMENTERS.register(name, function)

    return decorate


def build_augmenters(steps: Sequence[str]) -> tuple[Step, ...]:
    """Augmenters in their order, each given as ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``."""
    return tuple(map(_build, steps))


def _build(step: str) -> Step:
    name, *words = step.split(":")
    function = _AUGMENTERS.get(name)
    known = list(inspect.signature(function).parameters)[3:]
    options: dict[str, Any] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--augment {step}: '{word}' must be OPTION=VALUE")
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise UsageError(f"--augment {step}: unknown option '{option}': {hint}")
        try:
            options[option] = json.loads(value)
        except ValueError:
            options[option] = value
    return functools.partial(function, **options)

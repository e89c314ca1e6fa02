"""Losses by name: the same function for PyTorch (on logits), Keras (on probabilities) and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from utils.errors import UsageError
from utils.registry import Registry

# (output of the model, target) -> (loss, named terms of it for the history)
Loss = Callable[[Any, Any], tuple[Any, dict[str, Any]]]


@dataclass(frozen=True)
class NamedLoss:
    """One loss, built for a framework when a model is trained.

    ``torch``: builds ``(logits, target) -> scalar``.
    ``keras``: builds ``(output, target) -> scalar``, where the output went through the activation.
    ``numpy``: ``(target, predictions) -> float``, the validation loss; None where there is none.
    """

    torch: Callable[[], Callable[[Any, Any], Any]] | None = None
    keras: Callable[[], Callable[[Any, Any], Any]] | None = None
    numpy: Callable[[np.ndarray, np.ndarray], float] | None = None


LOSSES: Registry[NamedLoss] = Registry("loss")


def register_loss(name: str, loss: NamedLoss, module: str) -> None:
    """Register a loss for `Task.loss_name`.

    Parameters
    ----------
    name : str
        The name.
    loss : NamedLoss
        Its functions; a framework that is None cannot train with it.
    module : str
        ``__name__`` of the module that registers it.
    """
    LOSSES.register(name, loss, module)


def build_loss(name: str, framework: str) -> Loss:
    """Build a registered loss for ``torch`` or ``keras``."""
    build = getattr(LOSSES.get(name), framework)
    if build is None:
        raise UsageError(
            f"loss '{name}' has no function for {framework}: train a model of the other framework"
        )
    function = build()
    return lambda output, target: (function(output, target), {})


def _torch_bce() -> Callable[[Any, Any], Any]:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits


def _torch_ce() -> Callable[[Any, Any], Any]:
    from torch.nn import functional

    # PyTorch wants the classes in dimension 1; for (B, C) they are there already
    return lambda logits, target: functional.cross_entropy(logits.movedim(-1, 1), target.movedim(-1, 1))


def _keras(name: str) -> Callable[[Any, Any], Any]:
    import keras

    loss = getattr(keras.losses, name)()
    return lambda output, target: loss(target, output)


def _clipped(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)


def _numpy_bce(target: np.ndarray, probabilities: np.ndarray) -> float:
    p = _clipped(probabilities)
    return float(-np.mean(target * np.log(p) + (1 - target) * np.log(1 - p)))


def _numpy_ce(target: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.mean(np.sum(target * np.log(_clipped(probabilities)), axis=-1)))


register_loss("bce", NamedLoss(_torch_bce, partial(_keras, "BinaryCrossentropy"), _numpy_bce), __name__)
register_loss("ce", NamedLoss(_torch_ce, partial(_keras, "CategoricalCrossentropy"), _numpy_ce), __name__)

"""The registry of losses: fixed functions of each framework, or one formula for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from preprocessing.batches import pack
from preprocessing.transforms.configurable import parse_step
from training.tasks.losses.formula import FormulaLoss, Setting
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
    ``options``: those that were chosen, as JSON values.
    """

    torch: Callable[[], Callable[[Any, Any], Any]] | None = None
    keras: Callable[[], Callable[[Any, Any], Any]] | None = None
    numpy: Callable[[np.ndarray, np.ndarray], float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def build(self, framework: str) -> Loss:
        """Build for ``torch`` or ``keras``."""
        build = getattr(self, framework)
        if build is None:
            raise UsageError(
                f"loss '{self.name}' has no function for {framework}: train a model of the other framework"
            )
        function = build()
        return lambda output, target: (function(output, target), {})

    def of(self, target: Any, predictions: np.ndarray) -> float | None:
        """Loss of predictions in NumPy; None where there is no such function."""
        return None if self.numpy is None else self.numpy(pack(target), predictions)


LOSSES: Registry[NamedLoss | type[FormulaLoss]] = Registry("loss")


def register_loss(name: str, loss: NamedLoss | type[FormulaLoss], module: str) -> None:
    """Register a loss for `Task.loss_name` and ``--loss``.

    Parameters
    ----------
    name : str
        The name.
    loss : NamedLoss or subclass of FormulaLoss
        Its functions, where a framework that is None cannot train with it; or a formula with options.
    module : str
        ``__name__`` of the module that registers it.

    Raises
    ------
    UsageError
        Another module registered a loss of that name.
    """
    if isinstance(loss, type):
        loss.name = name
    LOSSES.register(name, loss, module)


def list_losses() -> list[str]:
    """Names that ``--loss`` takes.

    Returns
    -------
    list of str
        Sorted.
    """
    return LOSSES.names()


def parse_loss(word: str) -> NamedLoss | FormulaLoss:
    """A loss and its options from ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``."""
    name, options = parse_step(word)
    loss = LOSSES.get(name)
    if isinstance(loss, type):
        return loss.from_config(options)
    if options:
        raise UsageError(f"--loss {word}: '{name}' has no options")
    return NamedLoss(loss.torch, loss.keras, loss.numpy, name=name)


def choose_loss(word: str, setting: Setting) -> NamedLoss:
    """Build a loss for the targets of a run.

    Parameters
    ----------
    word : str
        ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``.
    setting : Setting
        Activation and classes, and the training targets where an option depends on them.

    Returns
    -------
    NamedLoss
        Its functions for each framework, and its options with all numbers that were taken from the targets.

    Raises
    ------
    UsageError
        An unknown loss or option (the nearest valid one is named), an impossible value, or a loss that does
        not go with the activation.
    DataError
        Weights are to follow from the training targets, and a class has none.
    """
    loss = parse_loss(word)
    if isinstance(loss, NamedLoss):
        return loss
    fitted = loss.fit(setting)
    softmax = setting.activation == "softmax"
    return NamedLoss(
        lambda: fitted.torch(softmax),
        lambda: fitted.keras(softmax),
        lambda target, predictions: fitted.numpy(softmax, target, predictions),
        fitted.to_json(),
        fitted.name,
    )

"""Losses whose formula is written once, for logits of PyTorch, outputs of Keras and NumPy arrays."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from preprocessing.transforms.configurable import Configurable
from utils.errors import DataError, UsageError

BALANCED = "balanced"
_LEAST = 1e-7  # distance of a probability from 0 and 1 in NumPy, as Keras has it
_TINY = 1e-37  # smallest probability whose logarithm float32 still has a gradient for


@dataclass(frozen=True)
class Setting:
    """What a loss is chosen for.

    ``classes``: names, one for each column of the model's output.
    ``counts``: gives for each class how often it is and how often it is not in the training targets.
    ``kind``: kind of task, for messages.
    """

    activation: str
    classes: Sequence[str]
    counts: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    kind: str = ""


@dataclass(frozen=True)
class Likelihood:
    """Probability of each class, its logarithm and that of its complement; arrays of one framework (..., C).

    ``xp``: its module, of which ``clip``, ``exp``, ``log``, ``sum`` and ``where`` are used.
    ``log_q`` is None for exclusive classes.
    """

    xp: Any
    p: Any
    log_p: Any
    log_q: Any = None

    def power(self, log: Any, exponent: float) -> Any:
        """exp(log) to an exponent; its gradient is finite where exp(log) is 0."""
        return self.xp.exp(exponent * log) if exponent else 1.0


@dataclass(frozen=True)
class FormulaLoss(Configurable, abc.ABC):
    """A loss that is a sum over classes; a subclass is a frozen dataclass with the method `elements`.

    ``class_weights``: factor of each class, in their order; ``balanced`` takes records / (classes * records
        of the class) from the training targets.

    The mean is over all elements (over rows of exclusive classes). A target with more columns than the
    output holds weights, one for the row or one for each class, see `preprocessing.batches.pack`: each
    element is multiplied by its weight before the mean, so that 0 leaves it out.
    """

    activations: ClassVar[tuple[str, ...]] = ("sigmoid", "softmax")

    class_weights: tuple[float, ...] | str | None = None

    def __post_init__(self) -> None:
        if self.class_weights not in (None, BALANCED):
            self.numbers("class_weights", least=0)

    @abc.abstractmethod
    def elements(self, target: Any, likelihood: Likelihood) -> Any:
        """Loss of each class, in arithmetic that all frameworks have.

        Shapes: target (..., C) -> (..., C).
        """

    def fit(self, setting: Setting) -> Self:
        """Refuse what does not go with the targets, and take from them what depends on them."""
        if setting.activation not in self.activations:
            raise UsageError(
                f"loss '{self.name}' is for {' or '.join(self.activations)} outputs, and {setting.kind} "
                f"targets have {setting.activation}: choose another --loss"
            )
        weights = self.class_weights
        if weights == BALANCED:
            present, absent = counts_of(setting, self.name)
            records = present.sum() if setting.activation == "softmax" else (present + absent).max()
            weights = tuple((records / (len(present) * present)).tolist())
        if weights is not None:
            check_length(self.name, "class_weights", weights, setting.classes)
        return dataclasses.replace(self, class_weights=weights)

    def plain(self, framework: str, softmax: bool) -> Callable[[Any, Any], Any] | None:
        """The framework's own function where these options, and a target without weights, mean the same."""
        return None

    def torch(self, softmax: bool) -> Callable[[Any, Any], Any]:
        """Build ``(logits, target) -> scalar``."""
        import torch
        from torch.nn import functional

        plain = self.plain("torch", softmax)

        def loss(logits: Any, target: Any) -> Any:
            if plain is not None and target.shape[-1] == logits.shape[-1]:
                return plain(logits, target)
            if softmax:
                likelihood = Likelihood(torch, torch.softmax(logits, -1), torch.log_softmax(logits, -1))
            else:
                log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
                likelihood = Likelihood(torch, torch.sigmoid(logits), log_p, log_q)
            return self._mean(target, likelihood, softmax)

        return loss

    def keras(self, softmax: bool) -> Callable[[Any, Any], Any]:
        """Build ``(output, target) -> scalar``."""
        import keras

        plain = self.plain("keras", softmax)

        def loss(output: Any, target: Any) -> Any:
            if plain is not None and target.shape[-1] == output.shape[-1]:
                return plain(output, target)
            target = keras.ops.cast(target, "float32")
            p = keras.ops.cast(output, "float32")
            if softmax:
                likelihood = Likelihood(keras.ops, p, keras.ops.log(keras.ops.clip(p, _TINY, 1.0)))
            else:  # Keras takes the logits where it can, so a saturated output has a gradient
                likelihood = Likelihood(
                    keras.ops,
                    p,
                    -keras.ops.binary_crossentropy(keras.ops.ones_like(p), output),
                    -keras.ops.binary_crossentropy(keras.ops.zeros_like(p), output),
                )
            return self._mean(target, likelihood, softmax)

        return loss

    def numpy(self, softmax: bool, target: np.ndarray, predictions: np.ndarray) -> float:
        """Loss of predictions in float64."""
        p = np.clip(np.asarray(predictions, dtype=np.float64), _LEAST, 1 - _LEAST)
        likelihood = Likelihood(np, p, np.log(p), None if softmax else np.log(1 - p))
        return float(self._mean(target, likelihood, softmax))

    def _mean(self, target: Any, likelihood: Likelihood, softmax: bool) -> Any:
        """Weighted mean of the elements."""
        classes = likelihood.p.shape[-1]
        labels, weights = target[..., :classes], target[..., classes:]
        values = self.elements(labels, likelihood)
        if self.class_weights is not None:
            values = values * like(likelihood, self.class_weights)
        if weights.shape[-1]:
            values = values * weights
        xp = likelihood.xp
        return xp.mean(xp.sum(values, -1)) if softmax else xp.mean(values)


def like(likelihood: Likelihood, values: Any) -> Any:
    """Numbers as an array of the framework, on the device of the probabilities."""
    if likelihood.xp.__name__ == "torch":
        return likelihood.p.new_tensor(values)
    return likelihood.xp.array(values, dtype="float64" if likelihood.xp is np else "float32")


def counts_of(setting: Setting, name: str) -> tuple[np.ndarray, np.ndarray]:
    """How often each class is there, and how often not; both above 0."""
    if setting.counts is None:
        raise UsageError(f"loss '{name}': '{BALANCED}' needs training targets: give numbers")
    present, absent = setting.counts()
    for words, counts in (("no", present), ("nothing but", absent)):
        if not counts.all():
            which = ", ".join(c for c, count in zip(setting.classes, counts, strict=True) if not count)
            raise DataError(
                f"loss '{name}': '{BALANCED}' weights are not possible, because the training targets have "
                f"{words} {which}: give numbers, or use more records"
            )
    return present, absent


def check_length(name: str, option: str, values: Any, classes: Sequence[str]) -> None:
    """Refuse numbers that are not one for each class."""
    if len(values) != len(classes):
        raise UsageError(
            f"loss '{name}': {option} must be {len(classes)} numbers, one for each of {', '.join(classes)}, "
            f"not {len(values)}"
        )

"""Cross-entropy: binary for independent classes, categorical for exclusive ones, weighted where asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from training.tasks.losses.formula import (
    BALANCED,
    FormulaLoss,
    Likelihood,
    Setting,
    check_length,
    counts_of,
    like,
)
from training.tasks.losses.registry import register_loss

DYNAMIC = "dynamic"


@dataclass(frozen=True)
class BinaryCrossEntropy(FormulaLoss):
    """-w y log p - (1 - y) log(1 - p).

    ``positive_weight``: w, a number or one for each class; ``balanced``: negatives / positives of the
        training targets; ``dynamic``: those of the batch, 1 for a class that it has no positives of.
    """

    activations: ClassVar[tuple[str, ...]] = ("sigmoid",)

    positive_weight: float | tuple[float, ...] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.positive_weight
        if isinstance(value, list | tuple):
            self.numbers("positive_weight", least=0)
        elif isinstance(value, str):
            self.one_of("positive_weight", (BALANCED, DYNAMIC))
        else:
            self.number("positive_weight", least=0, none=True)

    def fit(self, setting: Setting) -> Self:
        fitted, weight = super().fit(setting), self.positive_weight
        if weight == BALANCED:
            present, absent = counts_of(setting, self.name)
            weight = tuple((absent / present).tolist())
        if isinstance(weight, tuple):
            check_length(self.name, "positive_weight", weight, setting.classes)
        return dataclasses.replace(fitted, positive_weight=weight)

    def plain(self, framework: str, softmax: bool) -> Callable[[Any, Any], Any] | None:
        if self.class_weights is not None or self.positive_weight is not None:
            return None
        if framework == "torch":
            from torch.nn import functional

            return functional.binary_cross_entropy_with_logits
        return _keras("BinaryCrossentropy")

    def elements(self, target: Any, likelihood: Likelihood) -> Any:
        weight = self._positive_weight(target, likelihood)
        return -weight * target * likelihood.log_p - (1 - target) * likelihood.log_q

    def _positive_weight(self, target: Any, likelihood: Likelihood) -> Any:
        weight, xp = self.positive_weight, likelihood.xp
        if weight is None:
            return 1.0
        if weight != DYNAMIC:
            return like(likelihood, weight)
        axes = tuple(range(len(target.shape) - 1))
        positives, negatives = xp.sum(target, axes), xp.sum(1 - target, axes)
        one = xp.ones_like(positives)
        return xp.where(positives > 0, negatives / xp.where(positives > 0, positives, one), one)


@dataclass(frozen=True)
class CategoricalCrossEntropy(FormulaLoss):
    """-sum over classes of y log p."""

    activations: ClassVar[tuple[str, ...]] = ("softmax",)

    def plain(self, framework: str, softmax: bool) -> Callable[[Any, Any], Any] | None:
        if self.class_weights is not None:
            return None
        if framework == "torch":
            from torch.nn import functional

            # PyTorch wants the classes in dimension 1; for (B, C) they are there already
            return lambda logits, target: functional.cross_entropy(
                logits.movedim(-1, 1), target.movedim(-1, 1)
            )
        return _keras("CategoricalCrossentropy")

    def elements(self, target: Any, likelihood: Likelihood) -> Any:
        return -target * likelihood.log_p


def _keras(name: str) -> Callable[[Any, Any], Any]:
    import keras

    loss = getattr(keras.losses, name)()
    return lambda output, target: loss(target, output)


register_loss("bce", BinaryCrossEntropy, __name__)
register_loss("ce", CategoricalCrossEntropy, __name__)

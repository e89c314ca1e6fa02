"""Focal loss: cross-entropy in which what is easy counts less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.tasks.losses.formula import FormulaLoss, Likelihood
from training.tasks.losses.registry import register_loss


@dataclass(frozen=True)
class Focal(FormulaLoss):
    """-y (1 - p)^gamma log p - (1 - y) p^gamma log(1 - p); of exclusive classes the first part alone.

    ``gamma``: 0 is cross-entropy.
    ``alpha``: factor of the first part, 1 - alpha of the second one; by default both are 1.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, doi:10.1109/ICCV.2017.324.
    """

    gamma: float = 2.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.number("gamma", least=0)
        self.number("alpha", least=0, most=1, none=True)

    def elements(self, target: Any, likelihood: Likelihood) -> Any:
        own, other = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        if likelihood.log_q is None:
            # 1 - p is 0 in float32 where p is close to 1: a power below 1 has no gradient there
            remainder = likelihood.xp.log(likelihood.xp.clip(1 - likelihood.p, 1e-7, 1.0))
            return -own * target * likelihood.power(remainder, self.gamma) * likelihood.log_p
        positive = own * target * likelihood.power(likelihood.log_q, self.gamma) * likelihood.log_p
        negative = other * (1 - target) * likelihood.power(likelihood.log_p, self.gamma) * likelihood.log_q
        return -positive - negative


register_loss("focal", Focal, __name__)

"""Asymmetric loss: a focal loss that treats positives and negatives differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from training.tasks.losses.formula import FormulaLoss, Likelihood
from training.tasks.losses.registry import register_loss
from utils.errors import UsageError


@dataclass(frozen=True)
class Asymmetric(FormulaLoss):
    """-y (1 - p)^a log p - (1 - y) s^b log(1 - m), with m = max(p - margin, 0) and s = m or p.

    ``gamma_positive``: a. ``gamma_negative``: b.
    ``margin``: negatives with a smaller probability have no loss.
    ``shifted``: s is m, as published; False: s is p, the variant of the torch_ecg toolkit.

    Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021,
    doi:10.1109/ICCV48922.2021.00015.
    """

    activations: ClassVar[tuple[str, ...]] = ("sigmoid",)

    gamma_positive: float = 1.0
    gamma_negative: float = 4.0
    margin: float = 0.05
    shifted: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.number("gamma_positive", least=0)
        self.number("gamma_negative", least=0)
        self.number("margin", least=0, most=1)
        if not isinstance(self.shifted, bool):
            raise UsageError(f"{self.name}: shifted must be true or false, not {self.shifted!r}")

    def elements(self, target: Any, likelihood: Likelihood) -> Any:
        xp, p = likelihood.xp, likelihood.p
        positive = target * likelihood.power(likelihood.log_q, self.gamma_positive) * likelihood.log_p
        log_base, log_rest = likelihood.log_p, likelihood.log_q
        if self.margin:
            shifted = xp.clip(p - self.margin, 0.0, 1.0)
            log_rest = xp.log(1 - shifted)
            if self.shifted:  # the loss is 0 where the clip acts
                log_base = xp.log(xp.clip(p - self.margin, 1e-7, 1.0))
        negative = (1 - target) * likelihood.power(log_base, self.gamma_negative) * log_rest
        return -positive - negative


register_loss("asymmetric", Asymmetric, __name__)

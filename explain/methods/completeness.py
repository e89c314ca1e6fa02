"""Whether the values of a map add up to what its method promises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explain.engine.classifier import Classifier
from explain.methods.registry import Settings, get_method

_SMALLEST = 1e-3  # a promised sum below it counts as this much


@dataclass(frozen=True, eq=False)
class Completeness:
    """Sums of maps beside the sums that their method promises, (B,) each.

    For integrated_gradients, deep_lift and kernel_shap f(x) - f(0), where f is the target's logit and zero
    the mean of standardized signals; for deep_shap f(x) less the mean of f over the window's baselines; for
    lrp f(x); for prototypes f(x) less the bias.
    """

    sums: np.ndarray
    promised: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Missing part of each sum, ``|sum - promised| / max(|promised|, 0.001)``, shape (B,)."""
        return np.abs(self.sums - self.promised) / np.maximum(np.abs(self.promised), _SMALLEST)

    def __str__(self) -> str:
        return (
            f"completeness error: median {np.median(self.errors):.2%}, largest {np.max(self.errors):.2%} of "
            "what a map must add up to"
        )


def completeness(
    classifier: Classifier,
    name: str,
    x: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    settings: Settings | None = None,
) -> Completeness | None:
    """Compare the sums of maps with what their method promises; None where it promises no sum.

    Shapes: x (B, T, leads), targets (B,), maps (B, T, leads).
    """
    method, settings = get_method(name), settings or Settings()
    if method.promised is None or not len(x):
        return None
    sums = method.sums or (lambda classifier, maps, settings: maps.sum(axis=(1, 2), dtype=np.float64))
    promised = method.promised(classifier, x, targets, settings)
    return Completeness(sums(classifier, maps, settings), promised)


def logit(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """f(x), the logit of each window's target, (B,)."""
    logits = classifier.logits(x, settings.batch_size).astype(np.float64)
    return np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]


def rise(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """f(x) - f(0); zero is the mean of standardized signals, (B,)."""
    zero = np.zeros_like(x)
    return logit(classifier, x, targets, settings) - logit(classifier, zero, targets, settings)

"""The baseline of every comparison: a map that does not depend on the model."""

from __future__ import annotations

import numpy as np

from explain.engine.classifier import Classifier
from explain.methods.registry import Settings, register_method


@register_method("random_baseline", uses=("seed",), native=True)
def random_baseline(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Standard normal noise."""
    return np.stack([settings.generator(i).standard_normal(x.shape[1:], np.float32) for i in range(len(x))])

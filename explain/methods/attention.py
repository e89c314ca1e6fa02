"""The attention of a model such as IMLE-Net as an attribution map."""

from __future__ import annotations

import numpy as np

from explain.engine.classifier import Classifier
from explain.methods.registry import CannotExplain, Settings, register_method


@register_method("attention", signed=False, native=True)
def attention(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """Beat x rhythm x channel attention of every sample, see `utils.plotting.ecg.attention_heat`.

    The network attends once for all classes: the map is the same for every target.

    References
    ----------
    Reddy et al., IMLE-Net, IEEE SMC 2021, doi:10.1109/SMC52423.2021.9658706.
    """
    if not hasattr(classifier.predictor.model, "attention"):
        raise CannotExplain(
            f"attention is what a model such as IMLE-Net computes on its way to the answer, and "
            f"'{classifier.model_name}' has none: take integrated_gradients or gradcam"
        )
    if classifier.attention is None:
        raise CannotExplain(
            f"'{classifier.name}' reads crops of {classifier.crop} samples, which do not divide the record's "
            f"{classifier.samples}: its attention has no share of every sample; take another method"
        )
    return classifier.attention(x)

"""The contributions of a prototype network's prototypes as an attribution map."""

from __future__ import annotations

import numpy as np
import torch

from explain.engine.classifier import Classifier
from explain.methods.completeness import logit
from explain.methods.registry import CannotExplain, Settings, register_method
from models_torch.protoecgnet.prototype_classifier import PrototypeClassifier


def _logit_without_bias(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    bias = classifier.predictor.model.head.bias
    value = logit(classifier, x, targets, settings)
    return value if bias is None else value - bias.detach().cpu().double().numpy()[targets]


@register_method("prototypes", promised=_logit_without_bias)
def prototypes(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """What each prototype adds to the logit, spread over the window that looks most like it.

    All leads share it, because a prototype compares all of them. The rhythm and the global branch look at the
    record as a whole: their part of the map is flat. `explain.prototypes` shows the prototypes themselves.

    References
    ----------
    Sethi et al., ProtoECGNet, MLHC 2025, PMLR 298, arXiv:2504.08713.
    """
    model = classifier.predictor.model
    if not isinstance(model, PrototypeClassifier) or classifier.crop:
        raise CannotExplain(
            f"prototypes are what a network such as ProtoECGNet compares whole records with, and "
            f"'{classifier.model_name}' has none here: take integrated_gradients or gradcam"
        )
    with torch.no_grad():
        scores, windows = model.scores(classifier.tensor(x))
        each = model.contributions(scores)[torch.arange(len(x)), torch.as_tensor(targets)].double().cpu()
        start, stop = model.window_samples(windows).cpu().unbind(dim=2)
    steps = torch.zeros(len(x), x.shape[1] + 1, dtype=torch.float64)
    share = each / ((stop - start) * x.shape[2])
    steps.scatter_add_(1, start, share).scatter_add_(1, stop, -share)
    return steps.cumsum(dim=1)[:, :-1, None].expand(-1, -1, x.shape[2]).numpy()

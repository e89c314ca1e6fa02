"""Maps from the model itself, its attention and its prototypes; and noise, the baseline of all methods."""

from __future__ import annotations

import numpy as np
import torch

from explain.engine.classifier import Classifier
from explain.methods.completeness import logit
from explain.methods.registry import CannotExplain, Settings, register_method
from models_torch.protoecgnet.prototype_classifier import PrototypeClassifier


@register_method("attention", signed=False, native=True)
def attention(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """Beat x rhythm x channel attention of every sample.

    The network attends once for all classes: the map is the same for every target.

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


@register_method("random_baseline", uses=("seed",), native=True)
def random_baseline(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Standard normal noise."""
    return np.stack([settings.generator(i).standard_normal(x.shape[1:], np.float32) for i in range(len(x))])

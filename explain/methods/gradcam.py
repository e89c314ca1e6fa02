"""Grad-CAM: the last maps of a convolutional network, weighted by what the logit makes of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from explain.engine.classifier import Classifier
from explain.methods.gradients import guided_backprop
from explain.methods.registry import CannotExplain, Settings, register_method


def coarse_maps(classifier: Classifier, x: np.ndarray, targets: np.ndarray) -> list[Tensor]:
    """Grad-CAM before it is brought to the samples.

    Shapes: x (B, T, leads), targets (B,) -> (rows, H, windows, columns).
    """
    if not classifier.feature_layers:
        raise CannotExplain(
            f"gradcam needs to know which layer of '{classifier.model_name}' to read and where its columns "
            "lie: give the model feature_info with a map that is marked as explained, or take input_gradient"
        )
    classes = torch.as_tensor(targets, device=classifier.device)
    maps, logits = classifier.feature_maps(classifier.tensor(x).requires_grad_(True))
    gradients = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps)
    coarse = []
    for layer, values, gradient in zip(classifier.feature_layers, maps, gradients, strict=True):
        weights = layer.arrange(gradient).mean(dim=(2, 3, 4), keepdim=True)
        coarse.append((weights * layer.arrange(values)).sum(dim=1).detach())
    return coarse


@register_method("gradcam", uses=("upsampling",))
def gradcam(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """Grad-CAM with its sign, brought to the samples.

    The model's ``feature_info`` says which layer is read and where its columns lie.

    Selvaraju et al., Grad-CAM, ICCV 2017, doi:10.1109/ICCV.2017.74.
    """
    coarse = coarse_maps(classifier, x, targets)
    maps = [
        classifier.lay_out(layer, values, settings.upsampling)
        for layer, values in zip(classifier.feature_layers, coarse, strict=True)
    ]
    return torch.stack(maps).sum(dim=0).cpu().numpy()


@register_method("guided_gradcam", uses=("upsampling",))
def guided_gradcam(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Guided backpropagation where Grad-CAM is positive: its detail, limited to the relevant part.

    Selvaraju et al., Grad-CAM, ICCV 2017, doi:10.1109/ICCV.2017.74.
    """
    positive = np.maximum(gradcam(classifier, x, targets, settings), 0)
    return guided_backprop(classifier, x, targets, settings) * positive

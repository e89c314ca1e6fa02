"""Methods that need one gradient a window, or a few: saliency, input x gradient, integrated gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from explain.engine.classifier import Classifier
from explain.methods.completeness import rise
from explain.methods.registry import CannotExplain, Settings, register_method


def input_gradients(classifier: Classifier, x: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each window's target logit with respect to that window."""
    x = x.detach().requires_grad_(True)
    logits = classifier.module(x)
    if not logits.requires_grad:
        raise CannotExplain(
            f"'{classifier.model_name}' has no gradient: take lime or kernel_shap, which perturb the signal"
        )
    return torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), x)[0]


@register_method("saliency")
def saliency(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """Gradient of the logit, with its sign.

    Simonyan et al., Deep Inside Convolutional Networks, 2013, arXiv:1312.6034.
    """
    return _numpy(input_gradients(classifier, classifier.tensor(x), _targets(classifier, targets)))


@register_method("input_gradient")
def input_gradient(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Input times gradient: what each sample adds to a logit that were linear.

    Shrikumar et al., Not Just a Black Box, 2016, arXiv:1605.01713.
    """
    return x * saliency(classifier, x, targets, settings)


@register_method("integrated_gradients", uses=("ig_steps",), promised=rise)
def integrated_gradients(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Gradients averaged on the straight way from zero (the mean voltage) to the signal, times the signal.

    The integral is Gauss-Legendre quadrature. A map sums to f(x) - f(0) as far as the quadrature converges.

    Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, arXiv:1703.01365.
    """
    nodes, weights = np.polynomial.legendre.leggauss(settings.ig_steps)
    signals, classes = classifier.tensor(x), _targets(classifier, targets)
    scale = torch.tensor((nodes + 1) / 2, dtype=signals.dtype, device=signals.device)
    share = torch.tensor(weights / 2, dtype=signals.dtype, device=signals.device)
    total = torch.zeros_like(signals)
    # one row for each window and node: forward passes are full even where a single window is explained
    rows = torch.arange(len(x) * settings.ig_steps, device=signals.device)
    for part in rows.split(settings.batch_size):
        window, node = part // settings.ig_steps, part % settings.ig_steps
        points = signals[window] * scale[node, None, None]
        gradients = input_gradients(classifier, points, classes[window])
        total.index_add_(0, window, gradients * share[node, None, None])
    return _numpy(signals * total)


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass lets through only what is positive on both sides."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = values.clamp(min=0)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return gradient.clamp(min=0) * (result > 0)


_RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _GuidedReLUs(TorchFunctionMode):
    """Replaces every ReLU, whether a layer or a call, while it is active, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function not in _RELUS:
            return function(*args, **(kwargs or {}))
        self.count += 1
        values = args[0] if args else (kwargs or {})["input"]
        return _GuidedReLU.apply(values)


@register_method("guided_backprop")
def guided_backprop(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Gradient of the logit whose negative parts are cut at every ReLU on the way back.

    Gates and attention (LSTM, softmax) pass gradients as they are. A wrong map would come from hooks on ReLU
    layers here, because most of the models call the function.

    Springenberg et al., Striving for Simplicity: The All Convolutional Net, 2014, arXiv:1412.6806.
    """
    with _GuidedReLUs() as relus:
        gradients = input_gradients(classifier, classifier.tensor(x), _targets(classifier, targets))
    if not relus.count:
        raise CannotExplain(
            f"guided_backprop changes what ReLUs do, and '{classifier.model_name}' has none: take saliency"
        )
    return _numpy(gradients)


def _targets(classifier: Classifier, targets: np.ndarray) -> Tensor:
    return torch.as_tensor(targets, device=classifier.device)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()

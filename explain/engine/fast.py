"""A copy of a PyTorch classifier made for thousands of forward passes on perturbed inputs.

Batch normalization is folded into the convolution before it, and nothing is recorded for gradients. On the
CPU convolutions along time keep the channels innermost in memory, and wide ones go through the frequency
domain.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from explain.engine.classifier import Classifier
from explain.engine.frequency_convolution import FrequencyConvolution, along_time, is_cheaper

TOLERANCE = 1e-5  # of the logits, relative to the largest one
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class FastCopy(nn.Module):
    """A changed copy of a model, in inference mode.

    ``model``: (B, T, leads) -> (B, C). Its parts have the names that they have in the original.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, signals: Tensor) -> Tensor:
        """Logits (B, C) of standardized signals (B, T, leads), for use without gradients."""
        with torch.inference_mode():
            return self.model(signals)


class _ChannelsInnermost(nn.Module):
    """A convolution along time on a tensor (B, channels, [leads,] T) whose channels lie innermost in memory.

    PyTorch computes it so only where the strides of a four-dimensional input say it, and those of an input
    with one channel never do.
    """

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d):
        super().__init__()
        weight = convolution.weight.detach()
        weight = weight if weight.ndim == 4 else weight[:, :, None]
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())
        self.stride, self.padding = convolution.stride[-1], convolution.padding[-1]

    def forward(self, x: Tensor) -> Tensor:
        image = x if x.ndim == 4 else x[:, :, None]
        _, channels, height, width = image.shape
        image = image.movedim(1, -1).contiguous().movedim(-1, 1)
        strides = (height * width * channels, 1, width * channels, channels)
        image = image.as_strided(image.shape, strides)
        y = functional.conv2d(image, self.weight, self.bias, (1, self.stride), (0, self.padding))
        return y if x.ndim == 4 else y[:, :, 0]


def speed_up(classifier: Classifier) -> None:
    """Make ``classifier.fast`` a copy for many forward passes, where the model allows it.

    Call it again after the weights have changed.
    """
    probe = torch.randn(
        *(4, classifier.samples, len(classifier.leads)), generator=torch.Generator().manual_seed(0)
    )
    classifier.fast = fast_copy(classifier.module, probe.to(classifier.device))


def fast_copy(module: nn.Module, probe: Tensor) -> nn.Module:
    """Copy a module for many forward passes; probe (B, T, leads)."""
    run = _Run(module, probe)
    for on_cpu in (True, False):
        candidate = _rebuilt(module, run, on_cpu and probe.device.type == "cpu")
        if candidate is None:
            break
        with torch.inference_mode():
            error = (candidate(probe) - run.output).abs().max()
        if error <= TOLERANCE * run.output.abs().max():
            return FastCopy(candidate)
    return module


class _Run:
    """Which batch norm follows a convolution, and the lengths of outputs, observed in a forward pass."""

    def __init__(self, module: nn.Module, probe: Tensor):
        self.lengths: dict[str, int] = {}
        self.followers: dict[str, str] = {}  # convolution -> batch norm
        outputs: dict[
            int, tuple[str, Tensor]
        ] = {}  # by identity; the tensor is kept so that no other gets its identity

        def after_convolution(name: str, output: Tensor) -> None:
            self.lengths[name] = output.shape[-1]
            outputs[id(output)] = (name, output)

        def before_batch_norm(name: str, x: Tensor) -> None:
            if id(x) in outputs:
                self.followers[outputs[id(x)][0]] = name

        with contextlib.ExitStack() as hooks, torch.no_grad():
            for name, part in module.named_modules():
                if type(part) in _CONVOLUTIONS:
                    hook = part.register_forward_hook(lambda _m, _x, y, name=name: after_convolution(name, y))
                    hooks.callback(hook.remove)
                elif type(part) in _BATCH_NORMS and part.track_running_stats:
                    hook = part.register_forward_pre_hook(
                        lambda _m, x, name=name: before_batch_norm(name, x[0])
                    )
                    hooks.callback(hook.remove)
            self.output = module(probe)


def _rebuilt(module: nn.Module, run: _Run, on_cpu: bool) -> nn.Module | None:
    """A copy with layers replaced; None where nothing can be replaced."""
    new: dict[str, nn.Module] = {}
    for name, length in run.lengths.items():
        convolution: Any = module.get_submodule(name)
        follower = run.followers.get(name)
        if follower is not None:
            convolution = fuse_conv_bn_eval(convolution, module.get_submodule(follower))
            new[name], new[follower] = convolution, nn.Identity()
        if on_cpu and along_time(convolution):
            cheaper = is_cheaper(convolution, length)
            new[name] = (
                FrequencyConvolution(convolution, length) if cheaper else _ChannelsInnermost(convolution)
            )
    if not new:
        return None
    if on_cpu:
        new |= {name: nn.ReLU(inplace=True) for name, part in module.named_modules() if type(part) is nn.ReLU}
    result = copy.deepcopy(module)
    for name, part in new.items():
        result.set_submodule(name, part)
    return result.eval().requires_grad_(False)

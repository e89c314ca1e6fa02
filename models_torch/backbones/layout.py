"""Networks with depthwise convolutions on a CPU: the channels of a map stay innermost in memory.

So laid out, PyTorch's depthwise convolutions take a tenth of the time of an inference step and two thirds of
that of a training step, pointwise ones half and nine tenths. Other convolutions are faster the usual way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.backbones.columns import single


def innermost(x: Tensor) -> bool:
    """Whether the channels of a map (B, channels, columns) are innermost in memory."""
    return x.ndim == 3 and x.stride(1) == 1 and x.shape[1] > 1


def join_channels(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate maps along the channels, laid out as they are."""
    if all(map(innermost, maps)):
        return torch.cat([x.unsqueeze(2) for x in maps], dim=1).squeeze(2)
    return torch.cat(list(maps), dim=1)


class _Conv1d(nn.Conv1d):
    """The convolution of an image of one row, where it is depthwise or pointwise."""

    def forward(self, x: Tensor) -> Tensor:
        depthwise = self.groups == self.in_channels > 1
        if not depthwise and (single(self.kernel_size) > 1 or self.groups > 1):
            return super().forward(x.contiguous())
        if not innermost(x):
            x = x.transpose(1, 2).contiguous().transpose(1, 2)
        stride, padding, dilation = single(self.stride), single(self.padding), single(self.dilation)
        if single(self.kernel_size) == 1 and stride > 1:
            # in PyTorch 2.13 the gradient of a strided kernel of 1 overruns its memory, with few channels
            x, stride = x[:, :, ::stride], 1
        if not depthwise:
            return functional.linear(x.transpose(1, 2), self.weight[:, :, 0], self.bias).transpose(1, 2)
        weight, step = self.weight.unsqueeze(2), (1, stride)
        return functional.conv2d(
            x.unsqueeze(2), weight, self.bias, step, (0, padding), (1, dilation), self.groups
        ).squeeze(2)


class _BatchNorm1d(nn.BatchNorm1d):
    """The normalization of an image of one row."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unsqueeze(2)).squeeze(2) if innermost(x) else super().forward(x)


class _MaxPool1d(nn.MaxPool1d):
    """The pooling of an image of one row."""

    def forward(self, x: Tensor) -> Tensor:
        if not innermost(x):
            return super().forward(x)
        kernel, stride, padding = (single(v) for v in (self.kernel_size, self.stride, self.padding))
        return functional.max_pool2d(
            x.unsqueeze(2), (1, kernel), (1, stride), (0, padding), ceil_mode=self.ceil_mode
        ).squeeze(2)


_SAME = {nn.Conv1d: _Conv1d, nn.BatchNorm1d: _BatchNorm1d, nn.MaxPool1d: _MaxPool1d}


def wants_innermost(network: nn.Module) -> bool:
    """Whether a network has depthwise convolutions."""
    convolutions = (layer for layer in network.modules() if isinstance(layer, nn.Conv1d))
    return any(layer.groups == layer.in_channels > 1 for layer in convolutions)


def keep_innermost(network: nn.Module) -> None:
    """Let the layers of a network keep the layout; their weights and names are the same."""
    for layer in network.modules():
        if type(layer) in _SAME:
            layer.__class__ = _SAME[type(layer)]

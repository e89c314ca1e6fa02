"""What models that answer for every sample share: blocks of convolutions, and records of any length."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import channels_first
from utils.errors import UsageError


class ConvBlock(nn.Sequential):
    """Convolution - batch norm - ReLU, once for each of `channels` after the first; the length stays."""

    def __init__(self, *channels: int, kernel: int, dilation: int = 1, dropout: float = 0.0):
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            padding = dilation * (kernel // 2)
            layers += [
                nn.Conv1d(before, after, kernel, padding=padding, dilation=dilation, bias=False),
                nn.BatchNorm1d(after),
                nn.ReLU(),
            ]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


def check_kernels(model: str, **kernels: int) -> None:
    """Refuse kernels that would shift the answer by half a sample."""
    for name, kernel in kernels.items():
        if kernel < 1 or kernel % 2 == 0:
            raise UsageError(f"{model}: {name} must be odd and at least 1, not {kernel}")


def check_widths(model: str, channels: Sequence[int], least: int = 2) -> tuple[int, ...]:
    """The widths of the levels, of which there must be enough."""
    if len(channels) < least or min(channels) < 1:
        raise UsageError(
            f"{model}: channels {list(channels)} must be at least {least} levels of 1 channel or more"
        )
    return tuple(channels)


def padded(signals: Tensor, samples: int, leads: int, multiple: int, model: str) -> Tensor:
    """Check signals and repeat their last sample up to a multiple of what the model pools.

    Shapes: signals (B, samples, leads) -> (B, leads, padded samples).
    """
    x = channels_first(signals, samples, leads, model)
    missing = -samples % multiple
    return functional.pad(x, (0, missing), mode="replicate") if missing else x


def enlarged(x: Tensor, factor: int) -> Tensor:
    """Repeat every column; shapes: (B, channels, columns) -> (B, channels, factor * columns)."""
    return torch.repeat_interleave(x, factor, dim=2)

"""The inverted residual block of MobileNetV2 and of the networks that came after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from models_torch.backbones.attention import make_attention
from models_torch.backbones.layers import DropPath, Sum, conv_unit


def inverted_residual(
    channels: int,
    filters: int,
    expansion: int,
    kernel: int,
    stride: int = 1,
    *,
    bias: bool = False,
    attn: Mapping[str, Any] | None = None,
    activation: str = "relu6",
    norm: str = "batch",
    fused: bool = False,
    drop_path: float = 0.0,
) -> nn.Module:
    """Expand the channels, convolve each by itself, gate, and project without an activation.

    ``fused``: one plain convolution expands and convolves (EfficientNetV2). The shortcut is there where the
    shapes of both maps are the same.
    """
    width, main = channels * expansion, nn.Sequential()
    options: dict[str, Any] = {"norm": norm, "activation": activation, "bias": bias}
    if fused:
        last = filters if expansion == 1 else width
        main.append(conv_unit(channels, last, kernel, stride, **options))
    else:
        if expansion > 1:
            main.append(conv_unit(channels, width, 1, **options))
        main.append(conv_unit(width, width, kernel, stride, groups=width, **options))
    if attn:
        main.append(make_attention(attn, width))
    if not fused or expansion > 1:
        main.append(conv_unit(width, filters, 1, norm=norm, activation="none"))
    if stride > 1 or channels != filters:
        return main
    if drop_path:
        main.append(DropPath(drop_path))
    return Sum(main, nn.Identity())

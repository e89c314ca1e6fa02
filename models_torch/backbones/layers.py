"""Layers that backbones are built of; maps are (B, channels, columns)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.backbones.columns import Columns, TooShortError, walk
from models_torch.backbones.layout import innermost, join_channels
from utils.errors import UsageError, nearest

ConvType = Literal["separable", "anti_alias"] | None
Pooling = Literal["conv", "max", "avg", "blur", "lp"]

ACTIVATIONS: dict[str, Callable[[bool], nn.Module]] = {  # of whether to work in place
    "relu": lambda inplace: nn.ReLU(inplace),
    "relu6": lambda inplace: nn.ReLU6(inplace),
    "leaky": lambda inplace: nn.LeakyReLU(inplace=inplace),
    "mish": lambda inplace: nn.Mish(inplace),
    "swish": lambda inplace: nn.SiLU(inplace),
    "hardswish": lambda inplace: nn.Hardswish(inplace),
    "gelu": lambda inplace: nn.GELU(),
    "elu": lambda inplace: nn.ELU(inplace=inplace),
    "tanh": lambda inplace: nn.Tanh(),
    "sigmoid": lambda inplace: nn.Sigmoid(),
    "none": lambda inplace: nn.Identity(),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "group": lambda channels: nn.GroupNorm(math.gcd(channels, 32), channels),
    "instance": lambda channels: nn.InstanceNorm1d(channels, affine=True),
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda channels: nn.Identity(),
}


def named(kind: str, name: str, table: dict[str, Callable[..., nn.Module]]) -> Callable[..., nn.Module]:
    """Entry of a table; the error for an unknown one names the nearest."""
    if name not in table:
        raise UsageError(f"unknown {kind} '{name}': {nearest(name, table)}")
    return table[name]


def activation_layer(name: str, inplace: bool = True) -> nn.Module:
    """An activation by name; in place where nothing else reads its input."""
    return named("activation", name, ACTIVATIONS)(inplace)


def norm_layer(name: str, channels: int) -> nn.Module:
    """A normalization by name."""
    return named("normalization", name, NORMS)(channels)


class BlurPool(nn.Module):
    """Downsampling behind a binomial filter, edges reflected.

    Zhang, Making convolutional networks shift-invariant again, 2019, doi:10.48550/arXiv.1904.11486.
    """

    def __init__(self, channels: int, stride: int, size: int = 3):
        super().__init__()
        if size % 2 == 0:
            raise UsageError(f"blur pooling: the filter has an odd number of taps, not {size}")
        taps = torch.tensor([math.comb(size - 1, tap) for tap in range(size)], dtype=torch.float32)
        self.stride, self.reach = stride, size // 2
        self.register_buffer("taps", (taps / 2 ** (size - 1)).repeat(channels, 1, 1), persistent=False)

    def columns(self, columns: Columns) -> Columns:
        if columns.length <= self.reach:
            raise TooShortError
        return columns.through(2 * self.reach + 1, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        if not innermost(x):
            x = functional.pad(x, (self.reach, self.reach), mode="reflect")
            return functional.conv1d(x, self.taps, stride=self.stride, groups=x.shape[1])
        x = functional.pad(x.unsqueeze(2), (self.reach, self.reach, 0, 0), mode="reflect")
        stride = (1, self.stride)
        return functional.conv2d(x, self.taps.unsqueeze(2), stride=stride, groups=x.shape[1]).squeeze(2)


def convolution(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    conv_type: ConvType = None,
) -> nn.Module:
    """A convolution that keeps the length, apart from its stride.

    ``conv_type``: ``separable`` for a depthwise and a pointwise convolution (kernels above 1), ``anti_alias``
    for a stride by blur pooling.
    """
    if kernel % 2 == 0:
        raise UsageError(f"filter length {kernel}: kernels are odd, so that columns keep their places")
    if channels_in % groups or channels_out % groups:
        raise UsageError(
            f"{channels_in} and {channels_out} channels cannot be divided into {groups} groups: change the "
            "filters or the groups"
        )
    padding = dilation * (kernel // 2)
    if conv_type == "separable" and kernel > 1:
        return nn.Sequential(
            nn.Conv1d(channels_in, channels_in, kernel, stride, padding, dilation, channels_in, bias),
            nn.Conv1d(channels_in, channels_out, 1, groups=groups, bias=bias),
        )
    if conv_type == "anti_alias" and stride > 1:
        conv = nn.Conv1d(channels_in, channels_out, kernel, 1, padding, dilation, groups, bias)
        return nn.Sequential(conv, BlurPool(channels_out, stride))
    return nn.Conv1d(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias)


def conv_unit(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    conv_type: ConvType = None,
    norm: str = "batch",
    activation: str = "relu",
    order: str = "cba",
) -> nn.Sequential:
    """Convolution, normalization (b) and activation (a) in the given order."""
    if sorted(order) != sorted(set(order)) or not set(order) <= set("cba") or "c" not in order:
        raise UsageError(f"order '{order}' of layers: each of c, b and a once at most, c always")
    left_out = {letter for letter, name in (("b", norm), ("a", activation)) if name == "none"}
    kept = [letter for letter in order if letter not in left_out]
    layers: dict[str, Callable[[], nn.Module]] = {
        "c": lambda: convolution(
            channels_in, channels_out, kernel, stride, dilation, groups, bias, conv_type
        ),
        "b": lambda: norm_layer(norm, channels_out if order.index("c") < order.index("b") else channels_in),
        "a": lambda: activation_layer(activation, inplace=kept[0] != "a"),
    }
    return nn.Sequential(*(layers[letter]() for letter in kept))


class ZeroChannels(nn.Module):
    """Append channels of zeros."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def columns(self, columns: Columns) -> Columns:
        return columns

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, self.channels))


def down_sample(
    channels_in: int,
    channels_out: int,
    stride: int,
    mode: Pooling = "conv",
    groups: int = 1,
    zero_channels: bool = False,
    norm: str = "batch",
    blur_size: int = 3,
) -> nn.Sequential:
    """Shortcut of a residual block: pool, then bring to the number of channels.

    ``mode``: ``conv`` strides the pointwise convolution itself; ``lp`` is the 2-norm of each window.
    ``zero_channels``: add channels of zeros instead of convolving.
    """
    poolings: dict[str, Callable[[], nn.Module]] = {
        "max": lambda: nn.MaxPool1d(stride, stride, ceil_mode=True),
        "avg": lambda: nn.AvgPool1d(stride, stride, ceil_mode=True),
        "lp": lambda: nn.LPPool1d(2, stride, stride, ceil_mode=True),
        "blur": lambda: BlurPool(channels_in, stride, blur_size),
        "conv": nn.Identity,
    }
    pooling = named("downsampling", mode, poolings)
    if zero_channels and mode == "conv" and stride > 1:
        raise UsageError(
            "a shortcut with zero channels has no convolution: subsample by max, avg, lp or blur"
        )
    layers = [pooling()] if stride > 1 and mode != "conv" else []
    if not zero_channels:
        conv_stride = stride if mode == "conv" else 1
        layers.append(convolution(channels_in, channels_out, 1, conv_stride, groups=groups))
        if norm != "none":
            layers.append(norm_layer(norm, channels_out))
    elif channels_out > channels_in:
        layers.append(ZeroChannels(channels_out - channels_in))
    return nn.Sequential(*layers)


class SpaceToDepth(nn.Module):
    """Put ``size`` consecutive columns into the channels; a last incomplete group is filled with zeros.

    Ridnik et al., TResNet, 2021, doi:10.1109/WACV48630.2021.00144.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def columns(self, columns: Columns) -> Columns:
        padded = Columns(columns.grid, -(-columns.length // self.size) * self.size)
        return padded.through(self.size, self.size, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, length = x.shape
        if length % self.size:
            x = functional.pad(x, (0, -length % self.size))
        x = x.reshape(batch, channels, -1, self.size)
        return x.permute(0, 3, 1, 2).reshape(batch, self.size * channels, -1)


class Parallel(nn.Module):
    """Paths whose maps are joined along the channels."""

    def __init__(self, paths: list[nn.Module]):
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def columns(self, columns: Columns) -> Columns:
        first, *others = (walk(path, columns) for path in self.paths)
        for other in others:
            first = first.joined(other)
        return first

    def forward(self, x: Tensor) -> Tensor:
        return join_channels([path(x) for path in self.paths])


class DropPath(nn.Module):
    """Stochastic depth: leave out a path for some of the records while training.

    Huang et al., Deep networks with stochastic depth, 2016, doi:10.1007/978-3-319-46493-0_39.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def columns(self, columns: Columns) -> Columns:
        return columns

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        kept = 1 - self.probability
        return x * torch.bernoulli(x.new_full((len(x), 1, 1), kept)) / kept


class Sum(nn.Module):
    """Two paths whose maps are added."""

    def __init__(self, main: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def columns(self, columns: Columns) -> Columns:
        return walk(self.main, columns).joined(walk(self.shortcut, columns))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


def initialize(module: nn.Module) -> None:
    """He initialization of convolutions, without biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

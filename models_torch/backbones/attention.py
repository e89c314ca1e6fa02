"""Attention modules: maps (B, channels, columns) to maps of the same shape.

Two-dimensional modules of the papers are one-dimensional here: their spatial axes become the time axis.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.backbones.columns import Columns, TooShortError, walk
from models_torch.backbones.layers import activation_layer, conv_unit
from utils.errors import UsageError, nearest
from utils.registry import Registry

_ATTENTION: Registry[type[nn.Module]] = Registry("attention module")


def register_attention(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register a module ``(channels, **options)`` (a class decorator)."""
    return lambda module: _ATTENTION.register(name, module)


def list_attention() -> list[str]:
    """Sorted names of attention modules."""
    return _ATTENTION.names()


def make_attention(config: Mapping[str, Any], channels: int) -> nn.Module:
    """Build a module from ``{"name": ..., option: value, ...}``; an unknown option names the nearest."""
    if "name" not in config:
        raise UsageError(f"attention {dict(config)} has no 'name': one of {', '.join(list_attention())}")
    module = _ATTENTION.get(config["name"])
    options = {key: value for key, value in config.items() if key != "name"}
    valid = [key for key in inspect.signature(module).parameters if key != "channels"]
    for key in options:
        if key not in valid:
            raise UsageError(f"unknown option '{key}' of attention '{config['name']}': {nearest(key, valid)}")
    return module(channels, **options)


class _Gate(nn.Module):
    """A module whose columns see no further than their own, apart from a summary of the record."""

    def columns(self, columns: Columns) -> Columns:
        return columns


def _reduced(channels: int, reduction: int) -> int:
    if reduction < 1:
        raise UsageError(f"attention: reduction must be 1 or more, not {reduction}")
    return max(1, channels // reduction)


def _perceptron(channels: int, hidden: int, activation: str = "relu", bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, hidden, bias), activation_layer(activation), nn.Linear(hidden, channels, bias)
    )


@register_attention("se")
class SqueezeExcitation(_Gate):
    """Scale channels by a gate on their means.

    Hu et al., Squeeze-and-excitation networks, 2018, doi:10.1109/CVPR.2018.00745.
    """

    def __init__(self, channels: int, reduction: int = 8, activation: str = "relu", bias: bool = True):
        super().__init__()
        self.excite = _perceptron(channels, _reduced(channels, reduction), activation, bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.excite(x.mean(dim=2)))[:, :, None]


@register_attention("gc")
class GlobalContext(_Gate):
    """Fuse a context vector into every column: ``mul`` scales by its sigmoid, ``add`` adds it.

    Cao et al., GCNet, 2019, doi:10.1109/ICCVW.2019.00246.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        pooling: Literal["attention", "avg"] = "attention",
        fuse: tuple[Literal["mul", "add"], ...] = ("mul",),
    ):
        super().__init__()
        if not fuse or not set(fuse) <= {"mul", "add"} or pooling not in ("attention", "avg"):
            raise UsageError(
                f"attention 'gc': fuse {list(fuse)} may hold mul and add, pooling is attention or avg, not "
                f"'{pooling}'"
            )
        self.mask = nn.Conv1d(channels, 1, 1) if pooling == "attention" else None
        hidden = _reduced(channels, reduction)
        self.transforms = nn.ModuleDict(
            {
                kind: nn.Sequential(
                    nn.Linear(channels, hidden),
                    nn.LayerNorm(hidden),
                    nn.ReLU(inplace=True),
                    nn.Linear(hidden, channels),
                )
                for kind in ("add", "mul")
                if kind in fuse
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            context = x.mean(dim=2)
        else:
            context = torch.einsum("bct,bt->bc", x, torch.softmax(self.mask(x)[:, 0], dim=1))
        if "mul" in self.transforms:
            scaled = x * torch.sigmoid(self.transforms["mul"](context))[:, :, None]
        else:
            scaled = x
        return scaled + self.transforms["add"](context)[:, :, None] if "add" in self.transforms else scaled


@register_attention("nl")
class NonLocal(_Gate):
    """Add to each column a mean of all columns, weighted by their similarity (embedded Gaussian).

    The weights of its last normalization are zero at first, so that it starts as the identity, as in the
    paper. Wang et al., Non-local neural networks, 2018, doi:10.1109/CVPR.2018.00813.
    """

    def __init__(self, channels: int, subsample: int = 2):
        super().__init__()
        hidden = max(1, channels // 2)
        self.value, self.query, self.key = (nn.Conv1d(channels, hidden, 1) for _ in range(3))
        self.out = conv_unit(hidden, channels, 1, bias=True, activation="none")
        nn.init.zeros_(self.out[1].weight)
        self.subsample = subsample

    def columns(self, columns: Columns) -> Columns:
        if columns.length < self.subsample:
            raise TooShortError
        return columns

    def forward(self, x: Tensor) -> Tensor:
        value, query, key = self.value(x), self.query(x), self.key(x)
        if self.subsample > 1:
            value = functional.max_pool1d(value, self.subsample)
            key = functional.max_pool1d(key, self.subsample)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        return x + self.out((weights @ value.transpose(1, 2)).transpose(1, 2))


@register_attention("cbam")
class ConvolutionalBlockAttention(_Gate):
    """A gate on channels from several poolings, then one on columns.

    ``pools``: avg, max, lp (2-norm), lse (log-sum-exp). Woo et al., CBAM, 2018,
    doi:10.1007/978-3-030-01234-2_1.
    """

    POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {
        "avg": lambda x: x.mean(dim=2),
        "max": lambda x: x.amax(dim=2),
        "lp": lambda x: torch.linalg.vector_norm(x, dim=2),
        "lse": lambda x: torch.logsumexp(x, dim=2),
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        pools: tuple[str, ...] = ("avg", "max"),
        filter_length: int = 7,
    ):
        super().__init__()
        for pool in pools:
            if pool not in self.POOLS:
                raise UsageError(f"attention 'cbam': unknown pool '{pool}': {nearest(pool, self.POOLS)}")
        self.pools = tuple(pools)
        self.channel = _perceptron(channels, _reduced(channels, reduction))
        self.spatial = conv_unit(2, 1, filter_length, bias=True, activation="sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        gates = [self.channel(self.POOLS[pool](x)) for pool in self.pools]
        x = x * torch.sigmoid(torch.stack(gates).sum(dim=0))[:, :, None]
        summary = torch.stack([x.amax(dim=1), x.mean(dim=1)], dim=1)
        return x * self.spatial(summary)


@register_attention("ge")
class GatherExcite(_Gate):
    """Scale by a gate gathered from a neighborhood of each column.

    ``extent``: columns of the neighborhood, a power of 2; 0 for the whole record. ``parameters``: gather by
    strided depthwise convolutions (by one over the mean for the whole record) rather than by a mean.
    Hu et al., Gather-excite, 2018, doi:10.48550/arXiv.1810.12348.
    """

    def __init__(self, channels: int, extent: int = 8, parameters: bool = True):
        super().__init__()
        if extent < 0 or extent == 1 or extent & (extent - 1):
            raise UsageError(f"attention 'ge': extent must be 0 or a power of 2 above 1, not {extent}")
        self.extent = extent
        self.gather = nn.Sequential()
        steps = extent.bit_length() - 1 if extent else 1
        for step in range(steps if parameters else 0):
            stride = 2 if extent else 1
            self.gather.append(nn.Conv1d(channels, channels, 3, stride, 1, groups=channels, bias=False))
            self.gather.append(nn.BatchNorm1d(channels))
            if step < steps - 1:
                self.gather.append(nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        if not self.extent:
            context = self.gather(x.mean(dim=2, keepdim=True))
            return x * torch.sigmoid(context)
        if len(self.gather):
            context = self.gather(x)
        else:
            context = functional.avg_pool1d(x, self.extent, ceil_mode=True)
        return x * torch.sigmoid(functional.interpolate(context, size=x.shape[2]))


@register_attention("sk")
class SelectiveKernel(nn.Module):
    """Choose, channel by channel, among convolutions with kernels of different reach.

    Each branch is a grouped convolution of ``filter_length`` taps, the next with a dilation one larger.
    Li et al., Selective kernel networks, 2019, doi:10.1109/CVPR.2019.00060.
    """

    def __init__(
        self,
        channels: int,
        branches: int = 2,
        filter_length: int = 3,
        groups: int = 32,
        reduction: int = 16,
        least: int = 32,
    ):
        super().__init__()
        groups = next(size for size in range(min(groups, channels), 0, -1) if channels % size == 0)
        self.branches = nn.ModuleList(
            conv_unit(channels, channels, filter_length, dilation=branch + 1, groups=groups)
            for branch in range(branches)
        )
        hidden = max(channels // reduction, least)
        self.squeeze = conv_unit(channels, hidden, 1)
        self.select = nn.Linear(hidden, branches * channels)

    def columns(self, columns: Columns) -> Columns:
        found = columns
        for branch in self.branches:
            found = found.joined(walk(branch, columns))
        return found

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.stack([branch(x) for branch in self.branches], dim=1)
        hidden = self.squeeze(maps.sum(dim=1).mean(dim=2, keepdim=True))[:, :, 0]
        weights = torch.softmax(self.select(hidden).reshape(len(x), len(self.branches), -1), dim=1)
        return (maps * weights[..., None]).sum(dim=1)


@register_attention("bam")
class BottleneckAttention(_Gate):
    """Scale by one plus a gate: the sum of a channel branch and a dilated spatial branch.

    Park et al., BAM, 2018, doi:10.48550/arXiv.1807.06514.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4, filter_length: int = 3):
        super().__init__()
        hidden = _reduced(channels, reduction)
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
        )
        self.spatial = nn.Sequential(
            conv_unit(channels, hidden, 1),
            *(conv_unit(hidden, hidden, filter_length, dilation=dilation) for _ in range(2)),
            nn.Conv1d(hidden, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = self.channel(x.mean(dim=2))[:, :, None] + self.spatial(x)
        return x * (1 + torch.sigmoid(gate))


@register_attention("coordinate")
class CoordinateAttention(_Gate):
    """Scale by two gates, one of the column and one of the whole record, that share their first layer.

    The second axis of the paper's images has one row here: its mean is the map itself.
    Hou et al., Coordinate attention, 2021, doi:10.1109/CVPR46437.2021.01350.
    """

    def __init__(self, channels: int, reduction: int = 32, least: int = 8):
        super().__init__()
        hidden = max(channels // reduction, least)
        self.shared = conv_unit(channels, hidden, 1, activation="hardswish")
        self.along, self.across = (nn.Conv1d(hidden, channels, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        joined = self.shared(torch.cat([x, x.mean(dim=2, keepdim=True)], dim=2))
        along, across = joined[:, :, :-1], joined[:, :, -1:]
        return x * torch.sigmoid(self.along(along)) * torch.sigmoid(self.across(across))

"""Follow the columns of a map through layers: their number, stride and receptive field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from utils.feature_info import Grid

_POINTWISE = (
    nn.Identity, nn.Dropout, nn.BatchNorm1d, nn.GroupNorm, nn.InstanceNorm1d, nn.LayerNorm,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Mish, nn.SiLU, nn.GELU, nn.ELU, nn.Hardswish, nn.Tanh, nn.Sigmoid,
)  # fmt: skip


class TooShortError(ValueError):
    """A layer gets fewer columns than it can take."""


class Columns(NamedTuple):
    """Columns of a map: where they lie in the signal, and how many there are."""

    grid: Grid
    length: int

    def through(
        self, kernel: int, stride: int = 1, padding: int | None = None, dilation: int = 1, ceil: bool = False
    ) -> Columns:
        """Columns behind a convolution or a pooling; padding on both sides, half the kernel if not given."""
        reach = (kernel - 1) * dilation + 1
        padding = reach // 2 if padding is None else padding
        steps = (self.length + 2 * padding - reach) / stride
        length = (math.ceil(steps) if ceil else math.floor(steps)) + 1
        if length < 1 or self.length < 1:
            raise TooShortError
        return Columns(self.grid.through(reach, stride, padding), length)

    def joined(self, other: Columns) -> Columns:
        """What is seen through either of two paths."""
        if (self.length, self.grid.stride) != (other.length, other.grid.stride):
            raise ValueError(f"two paths with different columns meet: {self} and {other}")
        start = min(self.grid.start, other.grid.start)
        end = max(grid.start + grid.receptive_field for grid in (self.grid, other.grid))
        return Columns(Grid(self.grid.stride, end - start, start), self.length)


def single(value: Any) -> int:
    """A size that PyTorch keeps as a number or as a tuple of one."""
    return value[0] if isinstance(value, tuple) else value


def walk(module: nn.Module, columns: Columns) -> Columns:
    """Columns behind a module: a layer of PyTorch, or one that has a method ``columns``."""
    if hasattr(module, "columns"):
        return module.columns(columns)
    if isinstance(module, nn.Sequential):
        return walk_all(module, columns)
    if isinstance(module, _POINTWISE):
        return columns
    if isinstance(module, nn.Conv1d):
        kernel, stride, padding, dilation = (
            single(v) for v in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        return columns.through(kernel, stride, padding, dilation)
    if isinstance(module, nn.MaxPool1d | nn.AvgPool1d | nn.LPPool1d):
        padding = single(getattr(module, "padding", 0))
        kernel, stride = single(module.kernel_size), single(module.stride)
        return columns.through(kernel, stride, padding, ceil=module.ceil_mode)
    raise TypeError(f"{type(module).__name__} needs a method 'columns', so that its maps can be described")


def walk_all(modules: Iterable[nn.Module], columns: Columns) -> Columns:
    """Columns behind several modules, one after another."""
    for module in modules:
        columns = walk(module, columns)
    return columns

"""HO-ResNet: residual functions stacked as the stages of Runge-Kutta methods."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from models_torch.backbones.attention import make_attention
from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.columns import Columns, walk
from models_torch.backbones.layers import ConvType, activation_layer, conv_unit, norm_layer
from models_torch.backbones.resnet import (
    BlockConfig,
    ResidualBlock,
    StemConfig,
    basic,
    stem_layers,
)
from utils.errors import UsageError


class Tableau(NamedTuple):
    """A Runge-Kutta method: stage i is f(x + sum_j a[i][j] k_j), the step x + sum_i b[i] k_i."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


def _eighth_order() -> Tableau:
    """The method of order eight with eleven stages of Cooper and Verner, 1972, doi:10.1137/0709037."""
    s = math.sqrt(21)
    a: list[dict[int, float]] = [
        {},
        {1: 1 / 2},
        {1: 1 / 4, 2: 1 / 4},
        {1: 1 / 7, 2: (-7 - 3 * s) / 98, 3: (21 + 5 * s) / 49},
        {1: (11 + s) / 84, 3: (18 + 4 * s) / 63, 4: (21 - s) / 252},
        {1: (5 + s) / 48, 3: (9 + s) / 36, 4: (-231 + 14 * s) / 360, 5: (63 - 7 * s) / 80},
        {
            1: (10 - s) / 42, 3: (-432 + 92 * s) / 315, 4: (633 - 145 * s) / 90, 5: (-504 + 115 * s) / 70,
            6: (63 - 13 * s) / 35,
        },
        {1: 1 / 14, 5: (14 - 3 * s) / 126, 6: (13 - 3 * s) / 63, 7: 1 / 9},
        {1: 1 / 32, 5: (91 - 21 * s) / 576, 6: 11 / 72, 7: (-385 - 75 * s) / 1152, 8: (63 + 13 * s) / 128},
        {
            1: 1 / 14, 5: 1 / 9, 6: (-733 - 147 * s) / 2205, 7: (515 + 111 * s) / 504, 8: (-51 - 11 * s) / 56,
            9: (132 + 28 * s) / 245,
        },
        {
            5: (-42 + 7 * s) / 18, 6: (-18 + 28 * s) / 45, 7: (-273 - 53 * s) / 72, 8: (301 + 53 * s) / 72,
            9: (28 - 28 * s) / 45, 10: (49 - 7 * s) / 18,
        },
    ]  # fmt: skip
    rows = tuple(tuple(row.get(j + 1, 0.0) for j in range(i)) for i, row in enumerate(a))
    return Tableau(rows, (1 / 20, 0, 0, 0, 0, 0, 0, 49 / 180, 16 / 45, 49 / 180, 1 / 20))


SCHEMES = {
    "midpoint": Tableau(((), (1 / 2,)), (0, 1)),
    "rk4": Tableau(((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "rk8": _eighth_order(),
}


@dataclass
class HOResNetConfig(BackboneConfig):
    """Stages of Runge-Kutta steps behind a stem; lists have one entry a stage.

    ``num_steps``: each has as many residual functions of two convolutions as the scheme has stages: two
        (midpoint), four (rk4) or eleven (rk8). A residual block in front of a stage strides.
    ``attn``: an attention module at the end of each function.
    """

    scheme: Literal["midpoint", "rk4", "rk8"] = "midpoint"
    stem: StemConfig = field(default_factory=StemConfig)
    num_steps: list[int] = field(default_factory=lambda: [1, 1, 1, 1])
    num_filters: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    filter_lengths: list[int] = field(default_factory=lambda: [15, 15, 15, 15])
    strides: list[int] = field(default_factory=lambda: [1, 2, 2, 2])
    attn: dict[str, Any] | None = None
    dropout: float = 0.0
    activation: str = "relu"
    norm: str = "batch"
    conv_type: ConvType = None


class Step(nn.Module):
    """One step of a method, with a function of its own in each stage.

    No parameters come on top of those that the functions have when they are stacked.
    """

    def __init__(self, functions: list[nn.Module], tableau: Tableau):
        super().__init__()
        self.functions, self.tableau = nn.ModuleList(functions), tableau

    def columns(self, columns: Columns) -> Columns:
        found: list[Columns] = []
        for function, row in zip(self.functions, self.tableau.a, strict=True):
            found.append(walk(function, self._joined(columns, found, row)))
        return self._joined(columns, found, self.tableau.b)

    @staticmethod
    def _joined(columns: Columns, found: list[Columns], weights: tuple[float, ...]) -> Columns:
        for other, weight in zip(found, weights, strict=True):
            columns = columns.joined(other) if weight else columns
        return columns

    def forward(self, x: Tensor) -> Tensor:
        slopes: list[Tensor] = []
        for function, row in zip(self.functions, self.tableau.a, strict=True):
            slopes.append(function(self._moved(x, slopes, row)))
        return self._moved(x, slopes, self.tableau.b)

    @staticmethod
    def _moved(x: Tensor, slopes: list[Tensor], weights: tuple[float, ...]) -> Tensor:
        for slope, weight in zip(slopes, weights, strict=True):
            x = torch.add(x, slope, alpha=weight) if weight else x
        return x


@register_backbone(
    "ho_resnet",
    {
        "midpoint_resnet": {},
        "rk4_resnet": {"scheme": "rk4"},
        "rk8_resnet": {"scheme": "rk8"},
    },
)
class HOResNet(Backbone[HOResNetConfig]):
    """Residual functions (normalization, activation, convolution, twice) in Runge-Kutta steps.

    Luo et al., Rethinking ResNets: improved stacking strategies with high order schemes, 2021,
    doi:10.48550/arXiv.2103.15244.
    """

    config_class = HOResNetConfig

    def build(self, config: HOResNetConfig) -> None:
        """Add the stem and the stages."""
        for name in ("num_filters", "filter_lengths", "strides"):
            if len(getattr(config, name)) != len(config.num_steps):
                raise UsageError(f"ho_resnet: {name} and num_steps differ in length: one entry a stage")
        self.add("stem", *stem_layers(config.stem, self.channels, config.activation, config.norm))
        sizes = zip(config.num_steps, config.num_filters, config.filter_lengths, config.strides, strict=True)
        for number, (steps, filters, kernel, stride) in enumerate(sizes, start=1):
            stage = nn.Sequential()
            if stride > 1 or filters != self.channels:
                block = BlockConfig(conv_type=config.conv_type, attn=config.attn, order="pre")
                convolutions = basic(filters, kernel, stride, block)
                stage.append(
                    ResidualBlock(self.channels, convolutions, block, config.activation, config.norm)
                )
            for _ in range(steps):
                tableau = SCHEMES[config.scheme]
                functions = [self._function(config, filters, kernel) for _ in tableau.b]
                stage.append(Step(functions, tableau))
            if number == len(config.num_steps):
                stage.append(norm_layer(config.norm, filters))
                stage.append(activation_layer(config.activation, inplace=config.norm != "none"))
            self.add(f"stage{number}", stage, filters)

    @staticmethod
    def _function(config: HOResNetConfig, filters: int, kernel: int) -> nn.Sequential:
        function = nn.Sequential()
        for index in range(2):
            if index and config.dropout:
                function.append(nn.Dropout(config.dropout))
            function.append(
                conv_unit(
                    filters, filters, kernel, norm=config.norm, activation=config.activation, order="bac",
                    conv_type=config.conv_type,
                )
            )  # fmt: skip
        if config.attn:
            function.append(make_attention(config.attn, filters))
        return function

"""DenseNet: every layer reads all maps before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.columns import Columns, walk
from models_torch.backbones.layers import ConvType, activation_layer, conv_unit, norm_layer
from models_torch.backbones.layout import join_channels


@dataclass
class DenseNetConfig(BackboneConfig):
    """Stages of dense layers with transitions between them.

    ``num_layers``: of each stage. ``growth_rate``: channels that a layer adds. ``bn_size``: width of a
    bottleneck layer over the growth rate. ``compression``: channels that a transition keeps.
    ``final_norm``: normalization and activation behind the last stage, as in the paper.
    """

    init_num_filters: int = 64
    init_filter_length: int = 25
    init_stride: int = 1
    init_pool_size: int = 3
    num_layers: list[int] = field(default_factory=lambda: [6, 6, 6, 6])
    growth_rate: int = 16
    filter_length: int = 15
    building_block: Literal["basic", "bottleneck"] = "basic"
    bn_size: int = 4
    compression: float = 0.5
    dropout: float = 0.0
    groups: int = 1
    activation: str = "relu"
    norm: str = "batch"
    conv_type: ConvType = None
    final_norm: bool = False


class DenseLayer(nn.Module):
    """Append what a small network makes of the map; with groups, within each group of channels."""

    def __init__(self, main: nn.Module, groups: int):
        super().__init__()
        self.main, self.groups = main, groups

    def columns(self, columns: Columns) -> Columns:
        return walk(self.main, columns).joined(columns)

    def forward(self, x: Tensor) -> Tensor:
        new = self.main(x)
        if self.groups == 1:
            return join_channels([x, new])
        parts = [part.unflatten(1, (self.groups, -1)) for part in (x, new)]
        return torch.cat(parts, dim=2).flatten(1, 2)


@register_backbone(
    "densenet",
    {
        "densenet_vanilla": {},
        "densenet_bottleneck": {"building_block": "bottleneck", "final_norm": True},
        "densenet_leadwise": {"init_num_filters": 96, "growth_rate": 12, "groups": 12},
    },
)
class DenseNet(Backbone[DenseNetConfig]):
    """A convolution, then stages of layers that each read all maps before them.

    Huang et al., Densely connected convolutional networks, 2017, doi:10.1109/CVPR.2017.243.
    """

    config_class = DenseNetConfig

    def build(self, config: DenseNetConfig) -> None:
        """Add the stem and the stages; a transition belongs to the stage behind it."""
        channels, pool = config.init_num_filters, config.init_pool_size
        stem = conv_unit(
            self.channels, channels, config.init_filter_length, config.init_stride, groups=config.groups,
            norm=config.norm, activation=config.activation,
        )  # fmt: skip
        if pool:
            stem.append(nn.AvgPool1d(pool, 2, pool // 2))
        self.add("stem", stem, channels)
        for index, count in enumerate(config.num_layers):
            stage = nn.Sequential()
            if index:
                kept = int(channels * config.compression) // config.groups * config.groups
                stage.append(self._unit(config, channels, kept, 1))
                stage.append(nn.AvgPool1d(2))
                channels = kept
            for _ in range(count):
                stage.append(DenseLayer(self._layer(config, channels), config.groups))
                channels += config.growth_rate
            if config.final_norm and index == len(config.num_layers) - 1:
                stage.append(norm_layer(config.norm, channels))
                stage.append(activation_layer(config.activation, inplace=config.norm != "none"))
            self.add(f"stage{index + 1}", stage, channels)

    @staticmethod
    def _unit(config: DenseNetConfig, channels: int, filters: int, kernel: int) -> nn.Sequential:
        """Normalization, activation, convolution."""
        return conv_unit(
            channels, filters, kernel, groups=config.groups, norm=config.norm, order="bac",
            activation=config.activation, conv_type=config.conv_type,
        )  # fmt: skip

    def _layer(self, config: DenseNetConfig, channels: int) -> nn.Sequential:
        layer, growth = nn.Sequential(), config.growth_rate
        if config.building_block == "bottleneck":
            layer.extend(self._unit(config, channels, config.bn_size * growth, 1))
            channels = config.bn_size * growth
        layer.extend(self._unit(config, channels, growth, config.filter_length))
        if config.dropout:
            layer.append(nn.Dropout(config.dropout))
        return layer

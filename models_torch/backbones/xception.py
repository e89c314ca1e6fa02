"""Xception: residual blocks of separable convolutions."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.layers import ConvType, Sum, conv_unit, down_sample
from utils.errors import UsageError


@dataclass
class XceptionConfig(BackboneConfig):
    """Entry, middle and exit flow; each entry of ``num_filters`` of the entry and exit flow is a block.

    ``exit_num_filters``: of the two convolutions of the block that pools; ``final_num_filters``: of the
    convolutions behind it.
    """

    init_num_filters: list[int] = field(default_factory=lambda: [32, 64])
    init_filter_length: int = 31
    init_strides: list[int] = field(default_factory=lambda: [2, 1])
    entry_num_filters: list[int] = field(default_factory=lambda: [128, 256, 728])
    entry_filter_length: int = 15
    middle_blocks: int = 8
    middle_filter_length: int = 13
    exit_num_filters: list[int] = field(default_factory=lambda: [728, 1024])
    exit_filter_length: int = 17
    final_num_filters: list[int] = field(default_factory=lambda: [1456, 2048])
    final_filter_length: int = 3
    pool_size: int = 3
    pool_stride: int = 2
    groups: int = 1
    activation: str = "relu"
    norm: str = "batch"
    conv_type: ConvType = "separable"


_LEADWISE = {
    "init_num_filters": [96, 192],
    "entry_num_filters": [384, 768, 2184],
    "exit_num_filters": [2184, 3072],
    "exit_filter_length": 3,
    "final_num_filters": [4368, 6144],
    "final_filter_length": 17,
}


@register_backbone(
    "xception",
    {
        "xception_vanilla": {},
        "xception_leadwise": _LEADWISE | {"groups": 12},
        "xception_leadwise_torch_ecg": _LEADWISE,
    },
)
class Xception(Backbone[XceptionConfig]):
    """Plain convolutions, then separable ones with shortcuts.

    Chollet, Xception, 2017, doi:10.1109/CVPR.2017.195.
    """

    config_class = XceptionConfig

    def build(self, config: XceptionConfig) -> None:
        """Add the flows."""
        if len(config.init_num_filters) != len(config.init_strides):
            raise UsageError("xception: init_num_filters and init_strides differ in length")
        stem, channels = nn.Sequential(), self.channels
        for filters, stride in zip(config.init_num_filters, config.init_strides, strict=True):
            stem.append(
                conv_unit(
                    channels, filters, config.init_filter_length, stride, bias=True, groups=config.groups,
                    norm=config.norm, activation=config.activation,
                )
            )  # fmt: skip
            channels = filters
        self.add("stem", stem, channels)
        for index, filters in enumerate(config.entry_num_filters):
            block = self._block(config, [filters] * 2, config.entry_filter_length, index > 0, pools=True)
            self.add(f"entry{index + 1}", block, filters)
        if config.middle_blocks:
            widths = [self.channels] * 3
            middle = [
                self._block(config, widths, config.middle_filter_length) for _ in range(config.middle_blocks)
            ]
            self.add("middle", nn.Sequential(*middle), self.channels)
        exit_block = self._block(config, config.exit_num_filters, config.exit_filter_length, pools=True)
        self.add("exit", exit_block, config.exit_num_filters[-1])
        final, channels = nn.Sequential(), self.channels
        for filters in config.final_num_filters:
            final.append(self._unit(config, channels, filters, config.final_filter_length, "cba"))
            channels = filters
        self.add("final", final, channels)

    @staticmethod
    def _unit(config: XceptionConfig, channels: int, filters: int, kernel: int, order: str) -> nn.Sequential:
        return conv_unit(
            channels, filters, kernel, bias=True, groups=config.groups, conv_type=config.conv_type,
            norm=config.norm, activation=config.activation, order=order,
        )  # fmt: skip

    def _block(
        self,
        config: XceptionConfig,
        widths: list[int],
        kernel: int,
        activated: bool = True,
        pools: bool = False,
    ) -> Sum:
        """Convolutions beside a shortcut. ``activated``: whether the first has an activation before it."""
        main, channels = nn.Sequential(), self.channels
        for index, filters in enumerate(widths):
            order = "acb" if activated or index else "cb"
            main.append(self._unit(config, channels, filters, kernel, order))
            channels = filters
        if not pools:
            return Sum(main, nn.Identity())
        main.append(nn.MaxPool1d(config.pool_size, config.pool_stride, config.pool_size // 2))
        shortcut = down_sample(
            self.channels, channels, config.pool_stride, groups=config.groups, norm=config.norm
        )
        return Sum(main, shortcut)

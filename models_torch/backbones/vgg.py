"""VGG: convolutions and max-pooling."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.layers import ConvType, conv_unit
from utils.errors import UsageError


@dataclass
class VGGConfig(BackboneConfig):
    """Blocks of convolutions, each followed by pooling; lists have one entry a block."""

    num_convs: list[int] = field(default_factory=lambda: [2, 2, 3, 3, 3])
    num_filters: list[int] = field(default_factory=lambda: [48, 96, 192, 384, 384])
    filter_length: int = 15
    pool_size: int = 3
    pool_stride: int = 2
    groups: int = 1
    activation: str = "relu"
    norm: str = "batch"
    conv_type: ConvType = None


@register_backbone(
    "vgg16",
    {
        "vgg16_mish": {"activation": "mish"},
        "vgg16_swish": {"activation": "swish"},
        "vgg16_leadwise": {"num_filters": [192, 384, 768, 1536, 1536], "groups": 12},
    },
)
class VGG(Backbone[VGGConfig]):
    """Convolutions of one length with normalization, and pooling.

    Simonyan and Zisserman, Very deep convolutional networks, 2015, doi:10.48550/arXiv.1409.1556.
    """

    config_class = VGGConfig

    def build(self, config: VGGConfig) -> None:
        """Add the blocks."""
        if len(config.num_convs) != len(config.num_filters):
            raise UsageError("vgg: num_convs and num_filters differ in length: one entry a block")
        for index, (count, filters) in enumerate(zip(config.num_convs, config.num_filters, strict=True)):
            block, channels = nn.Sequential(), self.channels
            for _ in range(count):
                block.append(
                    conv_unit(
                        channels, filters, config.filter_length, bias=True, groups=config.groups,
                        conv_type=config.conv_type, norm=config.norm, activation=config.activation,
                    )
                )  # fmt: skip
                channels = filters
            block.append(nn.MaxPool1d(config.pool_size, config.pool_stride))
            self.add(f"block{index + 1}", block, filters)

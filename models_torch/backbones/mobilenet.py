"""MobileNet, the first to the third."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.configs import Config
from models_torch.backbones.inverted_residual import inverted_residual
from models_torch.backbones.layers import conv_unit
from utils.errors import UsageError


@dataclass
class MobileNetV1Config(BackboneConfig):
    """A convolution, then depthwise and pointwise ones; the lists of each flow have one entry a pair."""

    init_num_filters: int = 36
    init_filter_length: int = 27
    init_stride: int = 2
    entry_num_filters: list[int] = field(default_factory=lambda: [72, 144, 144, 288, 288, 576])
    entry_strides: list[int] = field(default_factory=lambda: [1, 2, 1, 2, 1, 2])
    entry_filter_length: int = 15
    middle_num_filters: list[int] = field(default_factory=lambda: [576] * 5)
    middle_filter_length: int = 13
    exit_num_filters: list[int] = field(default_factory=lambda: [1152, 1152])
    exit_strides: list[int] = field(default_factory=lambda: [2, 1])
    exit_filter_length: int = 17
    activation: str = "relu6"
    norm: str = "batch"


@register_backbone("mobilenet_v1")
class MobileNetV1(Backbone[MobileNetV1Config]):
    """Depthwise and pointwise convolutions, each with normalization and activation.

    Howard et al., MobileNets, 2017, doi:10.48550/arXiv.1704.04861.
    """

    config_class = MobileNetV1Config

    def build(self, config: MobileNetV1Config) -> None:
        """Add the flows."""
        options: dict[str, Any] = {"bias": True, "norm": config.norm, "activation": config.activation}
        filters = config.init_num_filters
        stem = conv_unit(self.channels, filters, config.init_filter_length, config.init_stride, **options)
        self.add("stem", stem, filters)
        flows = {
            "entry": (config.entry_num_filters, config.entry_strides, config.entry_filter_length),
            "middle": (
                config.middle_num_filters, [1] * len(config.middle_num_filters), config.middle_filter_length
            ),
            "exit": (config.exit_num_filters, config.exit_strides, config.exit_filter_length),
        }  # fmt: skip
        for name, (widths, strides, kernel) in flows.items():
            if len(widths) != len(strides):
                raise UsageError(f"mobilenet_v1: {name}_num_filters and {name}_strides differ in length")
            flow, channels = nn.Sequential(), self.channels
            for filters, stride in zip(widths, strides, strict=True):
                flow.append(conv_unit(channels, channels, kernel, stride, groups=channels, **options))
                flow.append(conv_unit(channels, filters, 1, **options))
                channels = filters
            self.add(name, flow, channels)


@dataclass
class StageConfig(Config):
    """Inverted residual blocks, the first of which strides.

    ``expansion``: inner over outer channels. ``attn``: an attention module behind the depthwise convolution.
    """

    num_blocks: int = 1
    num_filters: int = 24
    expansion: int = 6
    filter_length: int = 15
    stride: int = 1
    activation: str = "relu6"
    attn: dict[str, Any] | None = None


def _v2_stages() -> list[StageConfig]:
    widths, counts = [24, 36, 48, 72, 96, 240, 480], [1, 2, 3, 4, 3, 3, 1]
    strides = [1, 2, 2, 2, 1, 2, 1]
    return [
        StageConfig(count, width, 6 if index else 1, 15, stride)
        for index, (count, width, stride) in enumerate(zip(counts, widths, strides, strict=True))
    ]


def _v3_stages() -> list[dict[str, Any]]:
    gate = {"name": "se", "reduction": 8, "bias": False}
    rows = [(1, 48, 11, gate), (2, 96, 11, None), (5, 192, 17, gate), (3, 384, 17, gate)]
    return [
        StageConfig(count, width, 4, kernel, 2, "relu" if index < 2 else "hardswish", attn).to_json()
        for index, (count, width, kernel, attn) in enumerate(rows)
    ]


@dataclass
class MobileNetV2Config(BackboneConfig):
    """A convolution, stages of inverted residual blocks, and a convolution."""

    init_num_filters: int = 48
    init_filter_length: int = 27
    init_stride: int = 2
    stages: list[StageConfig] = field(default_factory=_v2_stages)
    exit_num_filters: int = 1536
    exit_filter_length: int = 19
    exit_stride: int = 2
    activation: str = "relu6"
    norm: str = "batch"


@register_backbone(
    "mobilenet_v2",
    {"mobilenet_v3": {"init_num_filters": 24, "stages": _v3_stages(), "activation": "relu"}},
)
class MobileNetV2(Backbone[MobileNetV2Config]):
    """Inverted residual blocks: narrow maps, between them wide depthwise convolutions.

    Sandler et al., MobileNetV2, 2018, doi:10.1109/CVPR.2018.00474; Howard et al., Searching for MobileNetV3,
    2019, doi:10.1109/ICCV.2019.00140.
    """

    config_class = MobileNetV2Config

    def build(self, config: MobileNetV2Config) -> None:
        """Add the stages."""
        options: dict[str, Any] = {"bias": True, "norm": config.norm, "activation": config.activation}
        filters = config.init_num_filters
        stem = conv_unit(self.channels, filters, config.init_filter_length, config.init_stride, **options)
        self.add("stem", stem, filters)
        for number, stage in enumerate(config.stages, start=1):
            blocks, channels = nn.Sequential(), self.channels
            for index in range(stage.num_blocks):
                blocks.append(
                    inverted_residual(
                        channels, stage.num_filters, stage.expansion, stage.filter_length,
                        stage.stride if index == 0 else 1, bias=True, attn=stage.attn,
                        activation=stage.activation, norm=config.norm,
                    )
                )  # fmt: skip
                channels = stage.num_filters
            self.add(f"stage{number}", blocks, channels)
        filters = config.exit_num_filters
        last = conv_unit(self.channels, filters, config.exit_filter_length, config.exit_stride, **options)
        self.add("exit", last, filters)

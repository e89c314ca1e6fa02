"""RegNet: widths and depths of the stages follow from a line."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.resnet import BlockConfig, Convolution, ResidualBlock, StemConfig, stem_layers
from utils.errors import UsageError


@dataclass
class RegNetConfig(BackboneConfig):
    """Stages of grouped bottlenecks behind a stem.

    ``w_0, w_a, w_m, total_blocks``: initial width, slope, ratio of quantization and depth. Explicit
    ``num_blocks`` and ``num_filters``, one entry a stage, take their place where given.
    ``group_widths``, ``filter_lengths``, ``strides``: of all stages, or one entry a stage.
    """

    stem: StemConfig = field(default_factory=StemConfig)
    w_0: int = 48
    w_a: float = 27.89
    w_m: float = 2.09
    total_blocks: int = 16
    num_blocks: list[int] | None = None
    num_filters: list[int] | None = None
    group_widths: int | list[int] = 8
    filter_lengths: int | list[int] = 11
    strides: int | list[int] = 2
    block: BlockConfig = field(
        default_factory=lambda: BlockConfig(expansion=1, attn={"name": "se", "reduction": 8})
    )
    activation: str = "relu"
    norm: str = "batch"


def quantized_stages(
    w_0: int, w_a: float, w_m: float, total_blocks: int, group_width: int
) -> tuple[list[int], list[int]]:
    """Blocks and filters of the stages: widths on a line, rounded to powers of ``w_m`` and to the groups."""
    if min(w_0, w_a, total_blocks, group_width) <= 0 or w_m <= 1:
        raise UsageError("regnet: w_0, w_a, total_blocks and group_widths are positive, and w_m is above 1")
    widths = []
    for block in range(total_blocks):
        power = round(math.log((w_0 + w_a * block) / w_0) / math.log(w_m))
        widths.append(8 * round(w_0 * w_m**power / 8))
    counts = Counter(widths)
    filters = [max(1, round(width / group_width)) * group_width for width in counts]
    return list(counts.values()), filters


@register_backbone(
    "regnet",
    {
        "regnet_16_8": {},
        "regnet_27_24": {"w_a": 20.71, "w_m": 2.65, "total_blocks": 27, "group_widths": 24},
        "regnet_23_168": {"w_0": 320, "w_a": 69.86, "w_m": 2.0, "total_blocks": 23, "group_widths": 168},
        "regnet_S": {
            "num_blocks": [2, 2, 2, 2],
            "num_filters": [32, 64, 128, 256],
            "group_widths": [8, 16, 32, 64],
            "filter_lengths": [13, 11, 7, 5],
            "block": {"expansion": 4},
        },
    },
)
class RegNet(Backbone[RegNetConfig]):
    """Grouped bottlenecks with squeeze and excitation (RegNetY).

    Radosavovic et al., Designing network design spaces, 2020, doi:10.1109/CVPR42600.2020.01044.
    """

    config_class = RegNetConfig

    def build(self, config: RegNetConfig) -> None:
        """Add the stem and the stages."""
        counts, widths = config.num_blocks, config.num_filters
        if (counts is None) != (widths is None):
            raise UsageError("regnet: num_blocks and num_filters are given together, or neither")
        if counts is None or widths is None:
            if isinstance(config.group_widths, list):
                raise UsageError(
                    "regnet: group_widths is one number where the widths follow from w_0 and w_a"
                )
            sizes = (config.w_0, config.w_a, config.w_m, config.total_blocks)
            counts, widths = quantized_stages(*sizes, config.group_widths)
        per_stage = {"num_filters": widths}
        for name in ("group_widths", "filter_lengths", "strides"):
            value = getattr(config, name)
            per_stage[name] = value if isinstance(value, list) else [value] * len(counts)
        for name, values in per_stage.items():
            if len(values) != len(counts):
                raise UsageError(f"regnet: {name} has {len(values)} entries for {len(counts)} stages")
        self.add("stem", *stem_layers(config.stem, self.channels, config.activation, config.norm))
        for stage, count in enumerate(counts):
            filters, group_width, kernel, stride = (values[stage] for values in per_stage.values())
            if filters % group_width:
                raise UsageError(f"regnet: {filters} filters cannot be divided into groups of {group_width}")
            blocks = nn.Sequential()
            for index in range(count):
                convolutions = [
                    Convolution(filters, 1),
                    Convolution(filters, kernel, stride if index == 0 else 1, filters // group_width),
                    Convolution(filters * config.block.expansion, 1),
                ]
                blocks.append(
                    ResidualBlock(self.channels, convolutions, config.block, config.activation, config.norm)
                )
                self.channels = convolutions[-1].filters
            self.add(f"stage{stage + 1}", blocks, self.channels)

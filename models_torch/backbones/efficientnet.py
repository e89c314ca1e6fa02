"""EfficientNet and EfficientNetV2: inverted residual blocks, scaled in width and depth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.configs import Config
from models_torch.backbones.inverted_residual import inverted_residual
from models_torch.backbones.layers import conv_unit

_SHORT, _LONG = 9, 25  # as many taps as kernels of 3 x 3 and 5 x 5 pixels have


@dataclass
class StageConfig(Config):
    """Blocks, the first of which strides.

    ``se_reduction``: the gate's hidden channels are those of the block's input over it; 0 for no gate.
    ``fused``: one convolution expands and convolves.
    """

    num_blocks: int = 1
    num_filters: int = 16
    expansion: int = 6
    filter_length: int = _SHORT
    stride: int = 1
    se_reduction: int = 4
    fused: bool = False


def _stages(rows: list[tuple[int, int, int, int, int, int, bool]]) -> list[StageConfig]:
    return [StageConfig(*row) for row in rows]


def _first() -> list[StageConfig]:
    """Stages of B0."""
    return _stages(
        [
            (1, 16, 1, _SHORT, 1, 4, False),
            (2, 24, 6, _SHORT, 2, 4, False),
            (2, 40, 6, _LONG, 2, 4, False),
            (3, 80, 6, _SHORT, 2, 4, False),
            (3, 112, 6, _LONG, 1, 4, False),
            (4, 192, 6, _LONG, 2, 4, False),
            (1, 320, 6, _SHORT, 1, 4, False),
        ]
    )


def _second(counts: list[int], widths: list[int]) -> list[dict[str, Any]]:
    """Stages of V2, six or seven: the first three are fused and have no gate."""
    expansions, strides = [1, 4, 4, 4, 6, 6, 6], [1, 2, 2, 2, 1, 2, 1]
    rows = [
        (count, width, expansions[i], _SHORT, strides[i], 0 if i < 3 else 4, i < 3)
        for i, (count, width) in enumerate(zip(counts, widths, strict=True))
    ]
    return [stage.to_json() for stage in _stages(rows)]


@dataclass
class EfficientNetConfig(BackboneConfig):
    """A convolution, stages, and a pointwise convolution.

    ``width``, ``depth``: factors of the filters (rounded to multiples of 8) and of the blocks (rounded up).
    ``drop_path``: share of the records for which the last block is left out; earlier ones have less.
    """

    init_num_filters: int = 32
    init_filter_length: int = _SHORT
    init_stride: int = 2
    stages: list[StageConfig] = field(default_factory=_first)
    exit_num_filters: int = 1280
    width: float = 1.0
    depth: float = 1.0
    drop_path: float = 0.2
    activation: str = "swish"
    norm: str = "batch"


def rounded_filters(filters: float) -> int:
    """Nearest multiple of 8, at most a tenth below."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


_SCALES = {
    0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8), 5: (1.6, 2.2), 6: (1.8, 2.6),
    7: (2.0, 3.1),
}  # fmt: skip


@register_backbone(
    "efficientnet",
    {
        **{f"efficientnet_b{n}": {"width": width, "depth": depth} for n, (width, depth) in _SCALES.items()},
        "efficientnet_v2_s": {
            "init_num_filters": 24,
            "stages": _second([2, 4, 4, 6, 9, 15], [24, 48, 64, 128, 160, 256]),
        },
        "efficientnet_v2_m": {
            "init_num_filters": 24,
            "stages": _second([3, 5, 5, 7, 14, 18, 5], [24, 48, 80, 160, 176, 304, 512]),
        },
        "efficientnet_v2_l": {
            "init_num_filters": 32,
            "stages": _second([4, 7, 7, 10, 19, 25, 7], [32, 64, 96, 192, 224, 384, 640]),
        },
    },
)
class EfficientNet(Backbone[EfficientNetConfig]):
    """Inverted residual blocks with squeeze and excitation and stochastic depth.

    Kernels have as many taps as the papers' on images, 9 and 25. Tan and Le, EfficientNet,
    2019, doi:10.48550/arXiv.1905.11946; EfficientNetV2, 2021, doi:10.48550/arXiv.2104.00298.
    """

    config_class = EfficientNetConfig

    def build(self, config: EfficientNetConfig) -> None:
        """Add the stages."""
        options: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
        filters = rounded_filters(config.init_num_filters * config.width)
        stem = conv_unit(self.channels, filters, config.init_filter_length, config.init_stride, **options)
        self.add("stem", stem, filters)
        counts = [math.ceil(stage.num_blocks * config.depth) for stage in config.stages]
        done, total = 0, sum(counts)
        for number, (stage, count) in enumerate(zip(config.stages, counts, strict=True), start=1):
            blocks, channels = nn.Sequential(), self.channels
            filters = rounded_filters(stage.num_filters * config.width)
            for index in range(count):
                blocks.append(
                    inverted_residual(
                        channels, filters, stage.expansion, stage.filter_length,
                        stage.stride if index == 0 else 1, attn=self._gate(stage, config.activation),
                        fused=stage.fused, drop_path=config.drop_path * done / total, **options,
                    )
                )  # fmt: skip
                channels, done = filters, done + 1
            self.add(f"stage{number}", blocks, channels)
        filters = rounded_filters(config.exit_num_filters * config.width)
        self.add("exit", conv_unit(self.channels, filters, 1, **options), filters)

    @staticmethod
    def _gate(stage: StageConfig, activation: str) -> dict[str, Any] | None:
        if not stage.se_reduction:
            return None
        return {"name": "se", "reduction": stage.se_reduction * stage.expansion, "activation": activation}

"""ResNet and its relatives: one network, of which every variant is a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from models_torch.backbones.attention import make_attention
from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.columns import Columns, walk, walk_all
from models_torch.backbones.configs import Config
from models_torch.backbones.layers import (
    ConvType,
    Pooling,
    SpaceToDepth,
    activation_layer,
    conv_unit,
    down_sample,
    norm_layer,
)
from utils.errors import UsageError


@dataclass
class StemConfig(Config):
    """What comes before the stages.

    ``kind``: convolutions and max-pooling, or space-to-depth (``block_size``) and a pointwise convolution.
    ``strides``: of each convolution. ``pool_size``: 0 for no pooling.
    """

    kind: Literal["conv", "space_to_depth"] = "conv"
    num_filters: list[int] = field(default_factory=lambda: [64])
    filter_lengths: list[int] = field(default_factory=lambda: [25])
    strides: list[int] = field(default_factory=lambda: [2])
    groups: int = 1
    pool_size: int = 3
    pool_stride: int = 2
    block_size: int = 4


@dataclass
class BlockConfig(Config):
    """A residual block.

    ``expansion``: output over inner filters, of bottlenecks. ``stride_at``: convolution of a bottleneck that
        strides: 0 (2015's), 1 (ResNet-B).
    ``base_width``, ``width_unit``: a bottleneck is ``filters base_width / width_unit`` wide (times groups).
    ``subsample_mode``: pooling of the shortcut; avg is ResNet-D's. ``blur_size``: taps of blur pooling.
    ``zero_channels``: shortcuts get channels of zeros rather than a convolution.
    ``conv_type``: None, ``separable`` or ``anti_alias``.
    ``attn``: an attention module, ``{"name": "se", "reduction": 8}``, after convolution ``attn_position``.
    ``order``: normalization and activation after (``post``) or before (``pre``) each convolution.
    """

    expansion: int = 4
    stride_at: int = 1
    groups: int = 1
    base_width: int = 64
    width_unit: int = 64
    subsample_mode: Pooling = "conv"
    blur_size: int = 3
    zero_channels: bool = False
    conv_type: ConvType = None
    attn: dict[str, Any] | None = None
    attn_position: int = -1
    dropout: float = 0.0
    order: Literal["post", "pre"] = "post"


@dataclass
class ResNetConfig(BackboneConfig):
    """Stages of residual blocks behind a stem.

    Lists have one entry a stage; filter lengths and strides may be lists with one entry a block, too. A
    stage's stride is that of its first block.
    """

    stem: StemConfig = field(default_factory=StemConfig)
    num_blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    num_filters: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    filter_lengths: list[int | list[int]] = field(default_factory=lambda: [15, 15, 15, 15])
    strides: list[int | list[int]] = field(default_factory=lambda: [1, 2, 2, 2])
    building_block: list[Literal["basic", "bottleneck"]] = field(default_factory=lambda: ["basic"] * 4)
    block: list[BlockConfig] = field(default_factory=lambda: [BlockConfig() for _ in range(4)])
    activation: str = "relu"
    norm: str = "batch"


@dataclass(frozen=True)
class Convolution:
    """One convolution of the main path of a block."""

    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1


def basic(filters: int, kernel: int, stride: int, config: BlockConfig) -> list[Convolution]:
    """Two equal convolutions."""
    return [
        Convolution(filters, kernel, stride, config.groups),
        Convolution(filters, kernel, groups=config.groups),
    ]


def bottleneck(filters: int, kernel: int, stride: int, config: BlockConfig) -> list[Convolution]:
    """A convolution along time between two pointwise ones."""
    if config.stride_at not in (0, 1):
        raise UsageError(f"resnet: stride_at {config.stride_at} must be 0 or 1")
    width = int(filters * config.base_width / config.width_unit) * config.groups
    first, second = (stride, 1) if config.stride_at == 0 else (1, stride)
    return [
        Convolution(width, 1, first),
        Convolution(width, kernel, second, config.groups),
        Convolution(filters * config.expansion, 1),
    ]


BUILDING_BLOCKS = {"basic": basic, "bottleneck": bottleneck}


class ResidualBlock(nn.Module):
    """Convolutions beside a shortcut; without an activation at the end where ``order`` is pre."""

    def __init__(
        self,
        channels: int,
        convolutions: Sequence[Convolution],
        config: BlockConfig,
        activation: str,
        norm: str,
        bare: bool = False,
    ):
        super().__init__()
        stride, out = 1, convolutions[-1].filters
        for step in convolutions:
            stride *= step.stride
        shortcut_groups = config.groups if len(convolutions) == 2 else 1
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            pre = config.order == "pre"
            self.shortcut = down_sample(
                channels, out, stride, config.subsample_mode, shortcut_groups, config.zero_channels,
                "none" if pre else norm, config.blur_size,
            )  # fmt: skip
        self.main = self._main(channels, convolutions, config, activation, norm, bare)
        self.end = nn.Sequential()
        if config.order == "post":
            self.end.append(activation_layer(activation))
            if config.dropout:
                self.end.append(nn.Dropout(config.dropout))

    @staticmethod
    def _main(
        channels: int,
        convolutions: Sequence[Convolution],
        config: BlockConfig,
        activation: str,
        norm: str,
        bare: bool,
    ) -> nn.Sequential:
        """Main path. ``bare``: the map before it is activated already, so a pre-block starts with none."""
        layers: list[nn.Module] = []
        last, pre = len(convolutions) - 1, config.order == "pre"
        for index, step in enumerate(convolutions):
            drop = [nn.Dropout(config.dropout)] if config.dropout else []
            if pre and not (bare and index == 0):
                inplace = norm != "none"
                layers += [norm_layer(norm, channels), activation_layer(activation, inplace)]
                layers += drop if index else []
            layers.append(
                conv_unit(
                    channels, step.filters, step.kernel, step.stride, groups=step.groups, norm=norm,
                    conv_type=config.conv_type, activation=activation,
                    order="c" if pre else "cba" if index < last else "cb",
                )
            )  # fmt: skip
            channels = step.filters
            layers += drop if not pre and index < last else []
            if config.attn and index == config.attn_position % len(convolutions):
                layers.append(make_attention(config.attn, channels))
        return nn.Sequential(*layers)

    def columns(self, columns: Columns) -> Columns:
        return walk_all(self.main, columns).joined(walk(self.shortcut, columns))

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.main(x) + self.shortcut(x))


def stem_layers(
    stem: StemConfig, channels: int, activation: str, norm: str = "batch"
) -> tuple[nn.Sequential, int]:
    """Layers of a stem, and the channels of its map."""
    layers = nn.Sequential()
    options: dict[str, Any] = {"bias": True, "norm": norm, "groups": stem.groups}
    if stem.kind == "space_to_depth":
        filters, deep = stem.num_filters[-1], channels * stem.block_size
        layers.append(SpaceToDepth(stem.block_size))
        if filters != deep:
            layers.append(conv_unit(deep, filters, 1, **options, activation="none"))
        return layers, filters
    sizes = (stem.num_filters, stem.filter_lengths, stem.strides)
    if len({len(size) for size in sizes}) != 1:
        raise UsageError("num_filters, filter_lengths and strides of the stem differ in length")
    for filters, kernel, stride in zip(*sizes, strict=True):
        layers.append(conv_unit(channels, filters, kernel, stride, **options, activation=activation))
        channels = filters
    if stem.pool_size:
        layers.append(nn.MaxPool1d(stem.pool_size, stem.pool_stride))
    return layers, channels


# ---- presets -------------------------------------------------------------------------------------

_COUNTS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def _deep(depth: int, kernel: int, **block: Any) -> dict[str, Any]:
    """A network of bottlenecks."""
    return {
        "num_blocks": _COUNTS[depth],
        "filter_lengths": [kernel] * 4,
        "building_block": ["bottleneck"] * 4,
        "block": block,
    }


_DEEP_STEM = {"num_filters": [32, 32, 64], "filter_lengths": [25, 15, 15], "strides": [2, 1, 1]}
_DEEP: dict[str, dict[str, Any]] = {
    "resnet_50": _deep(50, 15),
    "resnet_101": _deep(101, 11),
    "resnet_152": _deep(152, 11),
    "resnet_wide_50_2": _deep(50, 15, base_width=128),
    "resnet_wide_101_2": _deep(101, 11, base_width=128),
    "resnext_50_32x4d": _deep(50, 11, base_width=4, groups=32),
    "resnext_101_32x8d": _deep(101, 11, base_width=8, groups=32),
}
_SMALL = {"num_blocks": [1, 1, 1, 1], "filter_lengths": [19, 15, 11, 7]}
_BOTTLENECKS = {"building_block": ["bottleneck"] * 4}
_NATURE: dict[str, Any] = {
    "stem": {"filter_lengths": [17], "strides": [1], "pool_size": 0},
    "num_blocks": [1, 1, 1, 1],
    "num_filters": [128, 192, 256, 320],
    "filter_lengths": [17] * 4,
    "strides": [4] * 4,
}
_NATURE_BLOCK = {"subsample_mode": "max", "dropout": 0.2}
_ATTENTION = {
    "": None,
    "_se": {"name": "se", "reduction": 8},
    "_gc": {"name": "gc", "reduction": 4},
    "_nl": {"name": "nl", "subsample": 2},
}
_CPSC = [[5, 5, 25], [5, 5, 5, 25], [5, 5, 5, 5, 5, 25], [5, 5, 49]]


def _tresnet(
    filters: int, num_blocks: list[int], filter_lengths: list[int], conv_type: str | None = "anti_alias"
) -> dict[str, Any]:
    """Two stages of basic blocks, two of bottlenecks; the last stage has no squeeze and excitation."""
    block = {"subsample_mode": "blur", "blur_size": 7, "conv_type": conv_type}
    gated = block | {"attn": {"name": "se", "reduction": 8}}
    return {
        "stem": {"kind": "space_to_depth", "num_filters": [filters]},
        "num_blocks": num_blocks,
        "num_filters": [filters, 2 * filters, 4 * filters, 8 * filters],
        "filter_lengths": filter_lengths,
        "building_block": ["basic", "basic", "bottleneck", "bottleneck"],
        "block": [gated, gated, gated, block],
        "activation": "leaky",
    }


_TRESNETS: dict[str, dict[str, Any]] = {
    "tresnetF": _tresnet(32, [1, 1, 1, 1], [17, 17, 17, 17], "separable"),
    "tresnetP": _tresnet(56, [1, 1, 1, 1], [17, 17, 17, 17]),
    "tresnetN": _tresnet(56, [2, 2, 2, 2], [15, 15, 15, 15]),
    "tresnetS": _tresnet(56, [3, 4, 6, 3], [13, 13, 13, 13]),
    "tresnetM": _tresnet(64, [3, 4, 11, 3], [11, 11, 11, 11]),
    "tresnetL": _tresnet(76, [4, 5, 18, 3], [11, 11, 9, 7]),
    "tresnetXL": _tresnet(84, [4, 5, 24, 3], [11, 9, 9, 7]),
    "tresnetM_V2": _tresnet(64, [3, 4, 11, 3], [11, 11, 11, 11], None) | _BOTTLENECKS,
}
_STANFORD_BLOCK = {"subsample_mode": "max", "dropout": 0.2}
PRESETS: dict[str, dict[str, Any]] = {
    "resnet_18": {},
    "resnet_34": {"num_blocks": _COUNTS[34]},
    **_DEEP,
    **{f"{name}_torch_ecg": c | {"block": c["block"] | {"width_unit": 48}} for name, c in _DEEP.items()},
    "resnet_50_vanilla": _deep(50, 15, stride_at=0),
    "resnet_50_c": _deep(50, 15) | {"stem": _DEEP_STEM},
    "resnet_50_d": _deep(50, 15, subsample_mode="avg") | {"stem": _DEEP_STEM},
    "resnetN": _SMALL,
    "resnetNB": _SMALL | _BOTTLENECKS,
    "resnetNS": _SMALL | {"block": {"conv_type": "separable"}},
    "resnetNBS": _SMALL | _BOTTLENECKS | {"block": {"conv_type": "separable"}},
    **{
        f"resnet_nature_comm{block}{suffix}": {
            **_NATURE,
            **(_BOTTLENECKS if block else {}),
            "block": _NATURE_BLOCK | {"attn": attention},
        }
        for block in ("", "_bottle_neck")
        for suffix, attention in _ATTENTION.items()
    },
    "resnet_stanford": {
        "stem": {"num_filters": [32], "filter_lengths": [17], "strides": [1], "pool_size": 0},
        "num_blocks": [4, 4, 4, 4],
        "num_filters": [32, 64, 128, 256],
        "filter_lengths": [17] * 4,
        "strides": [[1, 2, 1, 2]] * 4,
        "block": _STANFORD_BLOCK | {"order": "pre", "zero_channels": True},
    },
    "resnet_stanford_torch_ecg": {
        "stem": {"num_filters": [72], "filter_lengths": [17]},
        "num_filters": [72, 144, 288, 576],
        "filter_lengths": [17] * 4,
        "strides": [2] * 4,
        "block": _STANFORD_BLOCK,
    },
    "resnet_cpsc2018": {
        "stem": {"num_filters": [48], "filter_lengths": [15]},
        "num_blocks": _COUNTS[34],
        "num_filters": [48, 96, 192, 384],
        "filter_lengths": _CPSC,
    },
    "resnet_leadwise": {
        "stem": {"num_filters": [96], "filter_lengths": [15]},
        "num_blocks": _COUNTS[34],
        "num_filters": [96, 192, 384, 768],
        "filter_lengths": _CPSC,
        "block": {"groups": 12},
    },
    "tresnet": _TRESNETS["tresnetM"],
    **_TRESNETS,
}


@register_backbone("resnet", PRESETS)
class ResNet(Backbone[ResNetConfig]):
    """A stem and stages of residual blocks.

    He et al., Deep residual learning, 2016, doi:10.1109/CVPR.2016.90; He et al., Bag of tricks (B, C, D),
    2019, doi:10.1109/CVPR.2019.00065; Xie et al., ResNeXt, 2017, doi:10.1109/CVPR.2017.634; Zagoruyko and
    Komodakis, Wide residual networks, 2016, doi:10.5244/C.30.87; Ridnik et al., TResNet, 2021,
    doi:10.1109/WACV48630.2021.00144; Hannun et al. (Stanford), 2019, doi:10.1038/s41591-018-0268-3; Ribeiro
    et al. (Nature Communications), 2020, doi:10.1038/s41467-020-15432-4. Stanford's kernels of 16 samples
    have 17 here, because kernels are odd. The names that end with ``_torch_ecg`` are the networks as the
    package torch_ecg has them.
    """

    config_class = ResNetConfig

    def build(self, config: ResNetConfig) -> None:
        """Add the stem and the stages; a normalization at the end where blocks have none there."""
        stages = len(config.num_blocks)
        for name in ("num_filters", "filter_lengths", "strides", "building_block", "block"):
            if len(getattr(config, name)) != stages:
                count = len(getattr(config, name))
                raise UsageError(f"resnet: {name} has {count} entries, num_blocks {stages}: one a stage")
        self.add("stem", *stem_layers(config.stem, self.channels, config.activation, config.norm))
        for stage in range(stages):
            blocks: list[nn.Module] = []
            for index in range(config.num_blocks[stage]):
                blocks.append(self._block(config, stage, index))
            if config.block[stage].order == "pre" and stage == stages - 1:
                blocks += [norm_layer(config.norm, self.channels), activation_layer(config.activation)]
            self.add(f"stage{stage + 1}", nn.Sequential(*blocks), self.channels)

    def _block(self, config: ResNetConfig, stage: int, index: int) -> ResidualBlock:
        """Block ``index`` of a stage; follows the channels."""
        kernels, strides = config.filter_lengths[stage], config.strides[stage]
        count = config.num_blocks[stage]
        for name, values in (("filter_lengths", kernels), ("strides", strides)):
            if isinstance(values, list) and len(values) != count:
                raise UsageError(
                    f"resnet: {name}[{stage}] has {len(values)} entries, the stage {count} blocks"
                )
        kernel = kernels[index] if isinstance(kernels, list) else kernels
        stride = strides[index] if isinstance(strides, list) else strides if index == 0 else 1
        block, design = config.block[stage], BUILDING_BLOCKS[config.building_block[stage]]
        convolutions = design(config.num_filters[stage], kernel, stride, block)
        channels, self.channels = self.channels, convolutions[-1].filters
        bare = stage == 0 and index == 0
        return ResidualBlock(channels, convolutions, block, config.activation, config.norm, bare)

"""HarDNet: layers that read those at distances of powers of two."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.columns import Columns, walk
from models_torch.backbones.layers import ConvType, conv_unit
from models_torch.backbones.layout import join_channels
from utils.errors import UsageError


@dataclass
class HarDNetConfig(BackboneConfig):
    """Harmonic dense blocks, each followed by a pointwise convolution.

    ``num_layers``, ``growth_rates``, ``num_filters``, ``down_sample``: of each block: layers, channels of its
        narrow layers, channels behind it, and whether it halves the columns.
    ``growth_factor``: a layer that reads n others has growth_rate growth_factor^(n - 1) channels.
    ``depthwise``: a pointwise and a depthwise convolution in place of each plain one, also to halve.
    """

    init_num_filters: list[int] = field(default_factory=lambda: [32, 64])
    init_filter_length: int = 9
    num_layers: list[int] = field(default_factory=lambda: [8, 16, 16, 16, 4])
    growth_rates: list[int] = field(default_factory=lambda: [14, 16, 20, 40, 160])
    num_filters: list[int] = field(default_factory=lambda: [128, 256, 320, 640, 1024])
    down_sample: list[bool] = field(default_factory=lambda: [True, False, True, True, False])
    growth_factor: float = 1.7
    filter_length: int = 9
    depthwise: bool = False
    activation: str = "relu6"
    norm: str = "batch"
    conv_type: ConvType = None


def links(layer: int) -> list[int]:
    """Layers that a layer reads: those 2^n before it where 2^n divides its number; 0 is the input."""
    return [layer - (1 << n) for n in range(layer.bit_length()) if layer % (1 << n) == 0]


class HarmonicBlock(nn.Module):
    """A block of layers; its output is every second layer and the last, joined."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def _is_kept(self, layer: int) -> bool:
        return layer % 2 == 1 or layer == len(self.layers)

    def columns(self, columns: Columns) -> Columns:
        found = [columns]
        for number, layer in enumerate(self.layers, start=1):
            first, *others = (found[link] for link in links(number))
            for other in others:
                first = first.joined(other)
            found.append(walk(layer, first))
        first, *others = (c for number, c in enumerate(found) if number and self._is_kept(number))
        for other in others:
            first = first.joined(other)
        return first

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for number, layer in enumerate(self.layers, start=1):
            read = [maps[link] for link in links(number)]
            maps.append(layer(join_channels(read) if len(read) > 1 else read[0]))
        return join_channels([m for number, m in enumerate(maps) if number and self._is_kept(number)])


@register_backbone(
    "hardnet",
    {
        "hardnet_68": {},
        "hardnet_39ds": {
            "init_num_filters": [24, 48],
            "num_layers": [4, 16, 8, 4],
            "growth_rates": [16, 20, 64, 160],
            "num_filters": [96, 320, 640, 1024],
            "down_sample": [True, True, True, False],
            "growth_factor": 1.6,
            "depthwise": True,
        },
        "hardnet_68ds": {"depthwise": True},
        "hardnet_85": {
            "init_num_filters": [48, 96],
            "num_layers": [8, 16, 16, 16, 16, 4],
            "growth_rates": [24, 24, 28, 36, 48, 256],
            "num_filters": [192, 256, 320, 480, 720, 1280],
            "down_sample": [True, False, True, False, True, False],
        },
    },
)
class HarDNet(Backbone[HarDNetConfig]):
    """Harmonic dense blocks, which keep less in memory than dense ones.

    Kernels have as many taps as the paper's on images, 9. Chao et al., HarDNet: a low memory traffic
    network, 2019, doi:10.1109/ICCV.2019.00365.
    """

    config_class = HarDNetConfig

    def build(self, config: HarDNetConfig) -> None:
        """Add the stem and the blocks."""
        count = len(config.num_layers)
        for name in ("growth_rates", "num_filters", "down_sample"):
            if len(getattr(config, name)) != count:
                raise UsageError(f"hardnet: {name} and num_layers differ in length: one entry a block")
        if len(config.init_num_filters) != 2 or min(config.num_layers) < 1:
            raise UsageError("hardnet: init_num_filters has two entries, and a block one layer or more")
        first, second = config.init_num_filters
        stem = nn.Sequential(
            self._unit(config, self.channels, first, config.init_filter_length, 2),
            self._unit(config, first, second, 1 if config.depthwise else config.init_filter_length),
            self._halving(config, second, nn.MaxPool1d(3, 2, 1)),
        )
        self.add("stem", stem, second)
        for index in range(count):
            block, channels = self._block(config, self.channels, index)
            filters = config.num_filters[index]
            stage = nn.Sequential(block, self._unit(config, channels, filters, 1))
            if config.down_sample[index]:
                stage.append(self._halving(config, filters, nn.MaxPool1d(2)))
            self.add(f"stage{index + 1}", stage, filters)

    @staticmethod
    def _unit(
        config: HarDNetConfig, channels: int, filters: int, kernel: int, stride: int = 1
    ) -> nn.Sequential:
        return conv_unit(
            channels, filters, kernel, stride, norm=config.norm, activation=config.activation,
            conv_type=config.conv_type,
        )  # fmt: skip

    def _halving(self, config: HarDNetConfig, channels: int, pool: nn.Module) -> nn.Module:
        return self._depthwise(config, channels, 2) if config.depthwise else pool

    @staticmethod
    def _depthwise(config: HarDNetConfig, channels: int, stride: int = 1) -> nn.Sequential:
        return conv_unit(
            channels, channels, config.filter_length, stride, groups=channels, norm=config.norm,
            activation="none",
        )  # fmt: skip

    def _block(self, config: HarDNetConfig, channels: int, index: int) -> tuple[HarmonicBlock, int]:
        """A block and the channels of its output."""
        widths, layers, growth = [channels], [], config.growth_rates[index]
        for number in range(1, config.num_layers[index] + 1):
            read = links(number)
            width = int(growth * config.growth_factor ** (len(read) - 1))
            width += width % 2
            before = sum(widths[link] for link in read)
            if config.depthwise:
                layer = nn.Sequential(self._unit(config, before, width, 1), self._depthwise(config, width))
            else:
                layer = self._unit(config, before, width, config.filter_length)
            widths.append(width)
            layers.append(layer)
        block = HarmonicBlock(layers)
        return block, sum(w for number, w in enumerate(widths) if number and block._is_kept(number))

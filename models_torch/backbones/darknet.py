"""DarkNet: the networks of the second and third YOLO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.layers import ConvType, Sum, conv_unit
from utils.errors import UsageError


@dataclass
class DarkNetConfig(BackboneConfig):
    """Stages behind a convolution, each with half the columns of the one before.

    ``residual``: stages of residual blocks behind a strided convolution (53), or max-pooling and convolutions
        that are long and pointwise in turn (19). ``num_blocks``: residual blocks, or convolutions, of each.
    """

    design: Literal["residual", "plain"] = "residual"
    init_num_filters: int = 32
    num_blocks: list[int] = field(default_factory=lambda: [1, 2, 8, 8, 4])
    num_filters: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 1024])
    filter_length: int = 9
    activation: str = "leaky"
    norm: str = "batch"
    conv_type: ConvType = None


@register_backbone(
    "darknet",
    {
        "darknet_53": {},
        "darknet_19": {"design": "plain", "num_blocks": [1, 3, 3, 5, 5]},
        "darknet_tiny": {"design": "plain", "init_num_filters": 16, "num_blocks": [1, 1, 1, 1, 1],
                         "num_filters": [32, 64, 128, 256, 512]},
    },
)  # fmt: skip
class DarkNet(Backbone[DarkNetConfig]):
    """Convolutions along time and pointwise ones in turn.

    Kernels have as many taps as the papers' on images, 9. Redmon and Farhadi, YOLO9000 (19),
    2017, doi:10.1109/CVPR.2017.690; YOLOv3 (53), 2018, doi:10.48550/arXiv.1804.02767.
    """

    config_class = DarkNetConfig

    def build(self, config: DarkNetConfig) -> None:
        """Add the stem and the stages."""
        if len(config.num_blocks) != len(config.num_filters):
            raise UsageError("darknet: num_blocks and num_filters differ in length: one entry a stage")
        filters = config.init_num_filters
        self.add("stem", self._unit(config, self.channels, filters, config.filter_length), filters)
        for index, (count, filters) in enumerate(zip(config.num_blocks, config.num_filters, strict=True)):
            if config.design == "residual":
                stage = nn.Sequential(
                    self._unit(config, self.channels, filters, config.filter_length, stride=2),
                    *(self._residual(config, filters) for _ in range(count)),
                )
            else:
                stage = self._plain(config, filters, count)
            self.add(f"stage{index + 1}", stage, filters)

    @staticmethod
    def _unit(
        config: DarkNetConfig, channels: int, filters: int, kernel: int, **options: Any
    ) -> nn.Sequential:
        return conv_unit(
            channels, filters, kernel, norm=config.norm, activation=config.activation,
            conv_type=config.conv_type, **options,
        )  # fmt: skip

    def _residual(self, config: DarkNetConfig, channels: int) -> Sum:
        """Half the channels, then all of them."""
        half = max(1, channels // 2)
        narrow = self._unit(config, channels, half, 1)
        return Sum(
            nn.Sequential(narrow, self._unit(config, half, channels, config.filter_length)), nn.Identity()
        )

    def _plain(self, config: DarkNetConfig, filters: int, count: int) -> nn.Sequential:
        stage, channels = nn.Sequential(nn.MaxPool1d(2)), self.channels
        for index in range(count):
            wide = index % 2 == 0
            width = filters if wide else max(1, filters // 2)
            stage.append(self._unit(config, channels, width, config.filter_length if wide else 1))
            channels = width
        if channels != filters:
            raise UsageError("darknet: a plain stage has an odd number of convolutions")
        return stage

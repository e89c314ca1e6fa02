"""ResNet-18 with kernels along time: the classifier of the attribution study."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo, Grid
from utils.model_registry import ModelCase


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    """Convolution along time, each lead by itself."""
    return nn.Conv2d(channels_in, channels_out, (1, kernel), (1, stride), (0, kernel // 2), bias=False)


class BasicBlock(nn.Module):
    """Twice convolution - batch norm, beside a shortcut; each ReLU is a separate module."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int):
        super().__init__()
        self.conv1 = _conv(channels_in, channels_out, kernel, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(channels_out, channels_out, kernel, 1)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                _conv(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        main = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(main + self.downsample(x))


class Backbone(nn.Module):
    """Stem and four stages of two blocks: (B, channels, leads, T) to (B, widths[3], leads, T / 32)."""

    def __init__(self, channels: int, widths: Sequence[int], kernel: int):
        super().__init__()
        self.conv1 = _conv(channels, widths[0], kernel, 2)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d((1, 3), (1, 2), (0, 1))
        grid, before = Grid().through(kernel, stride=2).through(3, stride=2), widths[0]
        infos: list[FeatureInfo] = [grid.info("maxpool", before)]
        for stage, width in enumerate(widths, start=1):
            stride = 1 if stage == 1 else 2
            blocks = [BasicBlock(before, width, kernel, stride), BasicBlock(width, width, kernel, 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            grid, before = grid.through(kernel, stride).through(kernel).through(kernel).through(kernel), width
            infos.append(grid.info(f"layer{stage}", width, explained=stage == len(widths)))
        self.feature_info = tuple(infos)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


@register_model(
    title="ResNet-18",
    doi="10.1016/j.compbiomed.2024.109088",
    parameters=8_728_901,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "widths": (4, 4, 8, 8)},
            parameters=4_681,
            samples=(32, 333, 5000),
            leads=(1, 12),
        ),
        ModelCase(
            {"samples": 160, "leads": 3, "widths": (4, 4, 8, 8), "lead_aware": True},
            parameters=4_737,
            name="lead-aware",
            leads=(1, 12),
        ),
        ModelCase(
            {"samples": 640, "leads": 2, "widths": (2, 2, 2, 2), "kernel": 3},
            parameters=305,
            name="short kernels",
        ),
    ),
)
class ResNet18(nn.Module):
    """ResNet-18 of the attribution study; its weights do not depend on the length of the record.

    The study slides the same kernels over each lead and averages over leads and time: the answer does not
    depend on which lead is which. `lead_aware` makes the leads the input channels instead, so that axis and
    territory can be learned. Layers are two-dimensional with kernels of height 1, as in the study, which
    compares kernels of 3, 5 and 7 samples.

    Suh et al., "Visual interpretation of deep learning model in ECG classification", Computers in Biology and
    Medicine 182, 2024, doi:10.1016/j.compbiomed.2024.109088; He et al., "Deep residual learning for image
    recognition", 2016, doi:10.1109/CVPR.2016.90.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        kernel: int = 7,
        widths: Sequence[int] = (64, 128, 256, 512),
        lead_aware: bool = False,
    ):
        super().__init__()
        if len(widths) != 4 or min(widths) < 1:
            raise UsageError(f"widths {list(widths)}: ResNet-18 has four stages of at least one channel")
        if kernel % 2 == 0 or kernel < 1:
            raise UsageError(f"kernel {kernel} must be odd")
        if samples < 32:
            raise UsageError(f"{samples} samples are too few for ResNet-18: it needs 32 or more")
        self.samples, self.leads, self.lead_aware = samples, leads, lead_aware
        self.backbone = Backbone(leads if lead_aware else 1, widths, kernel)
        rows = "all" if lead_aware else "each"
        self.feature_info = tuple(info.inside("backbone", leads=rows) for info in self.backbone.feature_info)
        self.head = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, T, leads) -> (B, channels, leads, T / 32); one row if lead-aware."""
        x = channels_first(signals, self.samples, self.leads, "resnet18")
        image = x[:, :, None] if self.lead_aware else x[:, None]
        # Not in the memory format channels_last, with which a step on a CPU would take a sixth less time: in
        # PyTorch 2.13 the gradient of a strided 1x1 convolution with few channels then overruns its memory.
        return self.backbone(image)

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=(2, 3)))

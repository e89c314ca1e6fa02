"""xresnet1d101: a deep residual network with the refinements of He et al. 2019, in one dimension."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import ConcatPool, benchmark_neck, convolution, image, init_kaiming
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase, Published

_EXPANSION = 4  # a bottleneck gives four times its width


def _normalized(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution and batch norm."""
    return [convolution(channels_in, channels_out, kernel, stride), nn.BatchNorm2d(channels_out)]


class Bottleneck(nn.Module):
    """Narrow, convolve (and stride), widen; the shortcut averages before it projects (ResNet-D)."""

    def __init__(self, channels_in: int, width: int, kernel: int, stride: int):
        super().__init__()
        channels_out = width * _EXPANSION
        self.main = nn.Sequential(
            *_normalized(channels_in, width, 1),
            nn.ReLU(),
            *_normalized(width, width, kernel, stride),
            nn.ReLU(),
            *_normalized(width, channels_out, 1),
        )
        shortcut: list[nn.Module] = []
        if stride != 1:
            shortcut.append(nn.AvgPool2d((1, stride), ceil_mode=True))
        if channels_in != channels_out:
            shortcut += _normalized(channels_in, channels_out, 1)
        self.shortcut = nn.Sequential(*shortcut)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.main(x) + self.shortcut(x))


@register_model(
    title="xresnet1d101",
    doi="10.1109/CVPR.2019.00065",
    parameters=1_872_261,
    published=(
        Published("all", {"macro_roc_auc": 0.925}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.937}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.929}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.928}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.896}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.957}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {
                "samples": 160,
                "leads": 3,
                "stem": (4, 4, 8),
                "width": 4,
                "blocks": (1, 1, 2),
                "units": 6,
                "dropout": 0.0,
            },
            parameters=1_793,
            samples=(77, 250, 1000),
            leads=(1, 12),
        ),
    ),
)
class XResNet1d101(nn.Module):
    """xresnet1d101 as the PTB-XL benchmark trains it.

    Three small convolutions replace the large one of the stem, the stride is in the middle convolution of a
    bottleneck, and a shortcut that has to shrink averages first. All stages have the same `width`, unlike
    networks for images; every stage after the first halves the time axis. Batch norms start from 1, as in the
    benchmark, and not from 0 at the end of a block.

    He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", CVPR 2019,
    doi:10.1109/CVPR.2019.00065; Strodthoff et al., IEEE JBHI 2021, doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        stem: Sequence[int] = (32, 32, 64),
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 23, 3),
        kernel: int = 5,
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__()
        if kernel % 2 == 0:
            raise UsageError(f"xresnet1d101: kernel must be odd, not {kernel}")
        self.samples, self.leads = samples, leads
        grid, layers, before = Grid(), list[nn.Module](), leads
        for index, channels in enumerate(stem):
            stride = 2 if index == 0 else 1
            layers += [*_normalized(before, channels, kernel, stride), nn.ReLU()]
            grid, before = grid.through(kernel, stride), channels
        self.stem = nn.Sequential(*layers, nn.MaxPool2d((1, 3), (1, 2), (0, 1)))
        grid, stages, infos = grid.through(3, stride=2), list[nn.Module](), []
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage and not index else 1
                stages.append(Bottleneck(before, width, kernel, stride))
                grid, before = grid.through(kernel, stride), width * _EXPANSION
            infos.append(grid.info(f"blocks.{len(stages) - 1}", before))
        self.blocks = nn.Sequential(*stages)
        self.feature_info = mark_explained(infos)
        self.pool = ConcatPool()
        self.neck = benchmark_neck(2 * before, units, dropout)
        self.head = nn.Linear(units, num_classes)
        init_kaiming(self)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, samples, leads) -> (B, 4 width, 1, samples / 32)."""
        return self.blocks(self.stem(image(signals, self.samples, self.leads, "xresnet1d101")))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.neck(self.pool(self.features(signals))))

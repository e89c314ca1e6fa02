"""ResNet101 for signals: the residual network of He et al. with wide one-dimensional kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo, Grid
from utils.model_registry import ModelCase, Published

_EXPANSION = 4  # a bottleneck gives four times its width


class Bottleneck(nn.Module):
    """Narrow, convolve (and stride), widen; batch norm after each convolution; then add the shortcut."""

    def __init__(self, channels_in: int, width: int, stride: int, kernels: Sequence[int], dropout: float):
        super().__init__()
        first, middle, last = kernels
        channels_out = width * _EXPANSION
        self.conv1 = nn.Conv1d(channels_in, width, first, padding=first // 2, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, middle, stride=stride, padding=middle // 2, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.conv3 = nn.Conv1d(width, channels_out, last, padding=last // 2, bias=False)
        self.bn3 = nn.BatchNorm1d(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            project = nn.Conv1d(channels_in, channels_out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(project, nn.BatchNorm1d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        main = functional.relu(self.bn1(self.conv1(x)))
        main = functional.relu(self.bn2(self.conv2(main)))
        main = self.bn3(self.conv3(self.dropout(main)))
        return functional.relu(main + self.shortcut(x))


@register_model(
    title="ResNet101",
    doi="10.1109/CVPR.2016.90",
    parameters=156_889_221,
    published=(
        Published(
            "superdiagnostic",
            {"macro_roc_auc": 0.8952, "mean_accuracy_percent": 86.78, "max_f1": 0.7558},
            "10.1109/SMC52423.2021.9658706",
        ),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "width": 4, "blocks": (1, 1, 1, 1)},
            parameters=84_817,
            samples=(100, 333, 5000),
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 320,
                "leads": 2,
                "width": 2,
                "blocks": (1, 2),
                "stem_kernel": 5,
                "kernels": (1, 3, 1),
            },
            parameters=773,
            name="short kernels",
        ),
    ),
)
class ResNet101(nn.Module):
    """ResNet101 as the IMLE-Net study compares with; its weights do not depend on the length of the record.

    The original network for images has the `kernels` (1, 3, 1) in a bottleneck; the wide ones here make it
    about 3.5 times as large. Every stage doubles the `width`; every stage after the first halves the time
    axis.

    Convolutions start from N(0, 2 / (k^2 out)) as in the reference, a formula for square kernels; batch
    norm follows each of them, so only the size of the first steps depends on it.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, doi:10.1109/CVPR.2016.90.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 23, 3),
        stem_kernel: int = 15,
        kernels: Sequence[int] = (7, 11, 7),
        dropout: float = 0.2,
    ):
        super().__init__()
        if len(kernels) != 3 or any(size % 2 == 0 for size in (stem_kernel, *kernels)):
            raise UsageError(
                f"resnet101: kernels must be three odd numbers and stem_kernel odd, not {kernels}"
            )
        self.samples, self.leads = samples, leads
        self.conv1 = nn.Conv1d(leads, width, stem_kernel, stride=2, padding=stem_kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        grid = Grid().through(stem_kernel, stride=2).through(3, stride=2)
        channels, stages = width, []
        infos: list[FeatureInfo] = []
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                stages.append(Bottleneck(channels, inner, stride, kernels, dropout))
                channels = inner * _EXPANSION
                first, middle, last = kernels
                grid = grid.through(first).through(middle, stride).through(last)
            is_last = stage == len(blocks) - 1
            infos.append(grid.info(f"blocks.{len(stages) - 1}", channels, explained=is_last))
        self.feature_info = tuple(infos)
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                size = module.kernel_size[0]
                nn.init.normal_(module.weight, std=math.sqrt(2 / (size**2 * module.out_channels)))

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, samples, leads) -> (B, channels, T / 32)."""
        x = channels_first(signals, self.samples, self.leads, "resnet101")
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.blocks(functional.max_pool1d(x, 3, stride=2, padding=1))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=2))

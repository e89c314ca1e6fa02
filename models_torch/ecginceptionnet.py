"""ECGInceptionNet: three blocks of parallel convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_torch.layers import convolution, image
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase


class Branches(nn.Module):
    """Each branch narrows, convolves with a kernel of its own and rectifies; joined, batch norm."""

    def __init__(self, channels_in: int, width: int, kernels: Sequence[int], bottleneck: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                convolution(channels_in, bottleneck, 1, bias=True),
                convolution(bottleneck, width, kernel, bias=True),
                nn.ReLU(),
            )
            for kernel in kernels
        )
        self.bn = nn.BatchNorm2d(width * len(kernels))

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(torch.cat([branch(x) for branch in self.branches], dim=1))


@register_model(
    title="ECGInceptionNet",
    doi="10.1109/CVPR.2015.7298594",
    parameters=140_549,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "widths": (4, 6), "bottleneck": 4, "dropout": 0.0},
            parameters=989,
            samples=(7, 250, 1000),
            leads=(1, 12),
        ),
    ),
)
class ECGInceptionNet(nn.Module):
    """ECGInceptionNet of the ECG-CNN study: parallel convolutions without pooling or shortcuts.

    Its weights do not depend on the length of the record; the mean over time is classified.

    Szegedy et al., "Going deeper with convolutions", CVPR 2015, doi:10.1109/CVPR.2015.7298594.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        widths: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (3, 5, 7),
        bottleneck: int = 32,
        dropout: float = 0.5,
    ):
        super().__init__()
        if any(kernel % 2 == 0 for kernel in kernels):
            raise UsageError(f"ecginceptionnet: kernels must be odd, not {list(kernels)}")
        self.samples, self.leads = samples, leads
        grid, before, infos, blocks = Grid(), leads, [], list[nn.Module]()
        for index, width in enumerate(widths):
            blocks.append(Branches(before, width, kernels, bottleneck))
            grid, before = grid.through(max(kernels)), width * len(kernels)
            infos.append(grid.info(f"blocks.{index}", before, explained=index == len(widths) - 1))
        self.blocks = nn.Sequential(*blocks)
        self.feature_info = tuple(infos)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, num_classes)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last block: (B, samples, leads) -> (B, channels, 1, samples)."""
        return self.blocks(image(signals, self.samples, self.leads, "ecginceptionnet"))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(signals).mean(dim=(2, 3))))

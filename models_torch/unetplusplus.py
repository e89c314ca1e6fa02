"""U-Net++: a U-Net whose skip connections are themselves small decoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.dense import ConvBlock, check_kernels, check_widths, enlarged, padded
from models_torch.registry import register_model
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase


@register_model(
    title="U-Net++",
    doi="10.1007/978-3-030-00889-5_1",
    parameters=140_341,
    cases=(
        ModelCase(
            {"samples": 64, "leads": 2, "channels": (3, 4, 5), "kernel": 3},
            parameters=735,
            samples=(1, 9, 63, 100),
            leads=(1, 12),
            columns=64,
        ),
    ),
)
class UNetPlusPlus(nn.Module):
    """U-Net++ over time; it takes records of any length.

    Node (i, j) reads all nodes (i, 0) to (i, j - 1) of its level and node (i + 1, j - 1) of the level below.
    Deep supervision (the mean of the answers of all nodes of the first level) is not built in.

    Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation, DLMIA 2018,
    doi:10.1007/978-3-030-00889-5_1.
    """

    def __init__(
        self,
        num_classes: int = 4,
        samples: int = 2000,
        leads: int = 1,
        channels: Sequence[int] = (8, 16, 32, 64),
        kernel: int = 9,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_kernels("unetplusplus", kernel=kernel)
        widths = check_widths("unetplusplus", channels)
        self.samples, self.leads, self.multiple = samples, leads, 2 ** (len(widths) - 1)
        self.downs = nn.ModuleList()
        self.nodes = nn.ModuleDict()
        grid, before, infos = Grid(), leads, []
        for level, width in enumerate(widths):
            self.downs.append(ConvBlock(before, width, width, kernel=kernel))
            grid = (grid.through(2, stride=2, padding=0) if level else grid).through(kernel).through(kernel)
            infos.append(grid.info(f"downs.{level}", width))
            before = width
            for step in range(1, len(widths) - level):
                joined = step * width + widths[level + 1]
                self.nodes[f"{level}_{step}"] = ConvBlock(joined, width, width, kernel=kernel)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(widths[0], num_classes, 1)
        self.feature_info = mark_explained(infos)

    def _levels(self, signals: Tensor) -> list[Tensor]:
        """Maps of the way down, the finest first."""
        x = padded(signals, self.samples, self.leads, self.multiple, "unetplusplus")
        maps = [self.downs[0](x)]
        for down in list(self.downs)[1:]:
            maps.append(down(functional.max_pool1d(maps[-1], 2)))
        return maps

    def features(self, signals: Tensor) -> Tensor:
        """Map of the lowest level: (B, samples, leads) -> (B, channels, columns)."""
        return self._levels(signals)[-1]

    def forward(self, signals: Tensor) -> Tensor:
        """Logits of every sample: (B, samples, leads) -> (B, samples, num_classes)."""
        maps = self._levels(signals)
        rows = [[x] for x in maps[:-1]] + [[self.dropout(maps[-1])]]
        for step in range(1, len(rows)):
            for level in range(len(rows) - step):
                below = enlarged(rows[level + 1][step - 1], 2)
                rows[level].append(self.nodes[f"{level}_{step}"](torch.cat([*rows[level], below], dim=1)))
        return self.head(rows[0][-1])[..., : self.samples].transpose(1, 2)

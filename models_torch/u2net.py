"""U2-Net: a U-Net of which every level is a small U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.dense import ConvBlock, check_kernels, enlarged, padded
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase

_DILATIONS = (1, 2, 4)  # of a block that does not pool


class ResidualUBlock(nn.Module):
    """A U-Net of `depth` levels beside a shortcut; at depth 1 dilated convolutions instead of pooling."""

    def __init__(self, before: int, middle: int, after: int, depth: int, kernel: int):
        super().__init__()
        self.depth = depth
        self.entry = ConvBlock(before, after, kernel=kernel)
        dilations = (1,) * depth if depth > 1 else _DILATIONS
        widths = [after] + [middle] * len(dilations)
        self.downs = nn.ModuleList(
            ConvBlock(a, b, kernel=kernel, dilation=d)
            for a, b, d in zip(widths, widths[1:], dilations, strict=False)
        )
        self.bottom = ConvBlock(middle, middle, kernel=kernel, dilation=2 * dilations[-1])
        self.ups = nn.ModuleList(
            ConvBlock(2 * middle, after if index == 0 else middle, kernel=kernel, dilation=dilation)
            for index, dilation in enumerate(dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        entry = self.entry(x)
        maps = [self.downs[0](entry)]
        for down in list(self.downs)[1:]:
            maps.append(down(functional.max_pool1d(maps[-1], 2) if self.depth > 1 else maps[-1]))
        x = self.bottom(maps[-1])
        for index in range(len(maps) - 1, -1, -1):
            if x.shape[2] < maps[index].shape[2]:
                x = enlarged(x, 2)
            x = self.ups[index](torch.cat([maps[index], x], dim=1))
        return x + entry

    def through(self, grid: Grid, kernel: int) -> Grid:
        """Columns of the block's answer; what one sees depends on its place, so the largest."""
        entry = grid.through(kernel)
        dilations = (1,) * self.depth if self.depth > 1 else _DILATIONS
        grids: list[Grid] = []
        reach = [d * (kernel - 1) + 1 for d in dilations]
        for index, size in enumerate(reach):
            below = grids[-1] if grids else entry
            pooled = below.through(2, stride=2, padding=0) if grids and self.depth > 1 else below
            grids.append(pooled.through(size))
            if index == len(reach) - 1:
                x = grids[-1].through(2 * dilations[-1] * (kernel - 1) + 1)
        for index in range(len(grids) - 1, -1, -1):
            x = x.enlarged(2) if x.stride > grids[index].stride else x
            x = x.joined(grids[index]).through(reach[index])
        return x.joined(entry)


@register_model(
    title="U2-Net",
    doi="10.1016/j.patcog.2020.107404",
    parameters=162_197,
    cases=(
        ModelCase(
            {"samples": 96, "leads": 2, "middle": 2, "width": 3, "depths": (2, 2, 1), "kernel": 3, "side": 2},
            parameters=969,
            samples=(1, 9, 63, 200),
            leads=(1, 12),
            columns=96,
        ),
    ),
)
class U2Net(nn.Module):
    """U2-Net over time; it takes records of any length.

    A level halves the time axis; its block is a U-Net of `depths` levels itself. Every level of the way back
    gives `side` channels at full resolution, which a last convolution joins; the paper's side answers, with
    losses of their own, are one class a channel. A record is padded with its last sample to a multiple of
    what its blocks pool.

    Qin et al., U2-Net: Going deeper with nested U-structure for salient object detection, Pattern Recognition
    106 (2020) 107404, doi:10.1016/j.patcog.2020.107404.
    """

    def __init__(
        self,
        num_classes: int = 4,
        samples: int = 2000,
        leads: int = 1,
        middle: int = 8,
        width: int = 32,
        depths: tuple[int, ...] = (6, 5, 4, 3, 1, 1),
        kernel: int = 5,
        side: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_kernels("u2net", kernel=kernel)
        if len(depths) < 2 or min(depths) < 1:
            raise UsageError(f"u2net: depths {list(depths)} must be two numbers of at least 1, or more")
        self.samples, self.leads = samples, leads
        self.multiple = 2 ** max(level + depth - 1 for level, depth in enumerate(depths))
        self.downs, self.ups, self.sides = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        grid, infos, before = Grid(), [], leads
        for level, depth in enumerate(depths):
            block = ResidualUBlock(before, middle, width, depth, kernel)
            grid = block.through(grid.through(2, stride=2, padding=0) if level else grid, kernel)
            infos.append(grid.info(f"downs.{level}", width, exact=False))
            self.downs.append(block)
            self.sides.append(nn.Conv1d(width, side, kernel, padding=kernel // 2))
            if level < len(depths) - 1:
                self.ups.append(ResidualUBlock(2 * width, middle, width, depth, kernel))
            before = width
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(side * len(depths), num_classes, 1)
        self.feature_info = mark_explained(infos)

    def _levels(self, signals: Tensor) -> list[Tensor]:
        """Maps of the way down, the finest first."""
        x = padded(signals, self.samples, self.leads, self.multiple, "u2net")
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
        x = self.dropout(maps[-1])
        sides = [enlarged(self.sides[-1](x), 2 ** (len(maps) - 1))]
        for level in range(len(maps) - 2, -1, -1):
            x = self.ups[level](torch.cat([maps[level], enlarged(x, 2)], dim=1))
            sides.append(enlarged(self.sides[level](x), 2**level))
        return self.head(torch.cat(sides, dim=1))[..., : self.samples].transpose(1, 2)

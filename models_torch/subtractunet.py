"""Subtract-U-Net: a U-Net with steep pooling whose lowest level subtracts two ranges of context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.dense import ConvBlock, check_kernels, check_widths, enlarged, padded
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase


@register_model(
    title="Subtract-U-Net",
    doi="10.1007/978-3-319-24574-4_28",
    parameters=356_485,
    cases=(
        ModelCase(
            {
                "samples": 64, "leads": 2, "channels": (3, 4, 5), "kernels": (5, 3, 3), "pools": (2, 2, 2),
                "bottom": 4, "dilation": 3,
            },
            parameters=1_678,
            samples=(1, 9, 63, 200),
            leads=(1, 12),
            columns=64,
        ),
    ),
)  # fmt: skip
class SubtractUNet(nn.Module):
    """U-Net in the form of an entry to CPSC 2019; it takes records of any length.

    The lowest level has two branches, one of them dilated; both and their difference are joined. A record is
    padded with its last sample to a multiple of all `pools` together (100 by default). The entry's 357,350
    parameters (1 lead, 2 classes) count biases in front of batch norms, which cancel them, and a batch norm
    of the logits; both are left out here.

    After Ronneberger, Fischer and Brox, U-Net, MICCAI 2015, doi:10.1007/978-3-319-24574-4_28; the challenge:
    doi:10.1166/jmihi.2019.2800.
    """

    def __init__(
        self,
        num_classes: int = 2,
        samples: int = 5000,
        leads: int = 1,
        channels: Sequence[int] = (16, 24, 48),
        kernels: Sequence[int] = (21, 11, 5),
        pools: Sequence[int] = (10, 5, 2),
        bottom: int = 96,
        dilation: int = 10,
        dropout: float = 0.15,
    ):
        super().__init__()
        widths = check_widths("subtractunet", channels)
        if not len(widths) == len(kernels) == len(pools) or min(pools) < 1:
            raise UsageError(
                "subtractunet: channels, kernels and pools must be equally many, pools at least 1"
            )
        for kernel in kernels:
            check_kernels("subtractunet", kernels=kernel)
        self.samples, self.leads, self.pools, self.multiple = samples, leads, tuple(pools), 1
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        grid, before, infos = Grid(), leads, []
        for level, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            drop = dropout if level else 0.0
            self.downs.append(ConvBlock(before, *[width] * 3, kernel=kernel, dropout=drop))
            grid = grid.through(kernel).through(kernel).through(kernel)
            infos.append(grid.info(f"downs.{level}", width))
            grid = grid.through(pools[level], stride=pools[level], padding=0)
            lower = widths[level + 1] if level + 1 < len(widths) else 3 * bottom
            self.ups.insert(0, ConvBlock(lower + width, *[width] * 3, kernel=kernel, dropout=drop))
            before, self.multiple = width, self.multiple * pools[level]
        self.near = ConvBlock(before, bottom, bottom, kernel=kernels[-1], dropout=dropout)
        self.far = ConvBlock(before, bottom, bottom, kernel=kernels[-1], dilation=dilation, dropout=dropout)
        reach = dilation * (kernels[-1] - 1) + 1
        infos.append(grid.through(reach).through(reach).info("", 3 * bottom))
        self.head = nn.Conv1d(widths[0], num_classes, 1)
        self.feature_info = mark_explained(infos)

    def _levels(self, signals: Tensor) -> list[Tensor]:
        """Maps of the way down, the finest first, the joined branches last."""
        x = padded(signals, self.samples, self.leads, self.multiple, "subtractunet")
        maps = []
        for down, pool in zip(self.downs, self.pools, strict=True):
            maps.append(down(x))
            x = functional.max_pool1d(maps[-1], pool)
        near, far = self.near(x), self.far(x)
        return [*maps, torch.cat([near, far, near - far], dim=1)]

    def features(self, signals: Tensor) -> Tensor:
        """Map of the joined branches: (B, samples, leads) -> (B, channels, columns)."""
        return self._levels(signals)[-1]

    def forward(self, signals: Tensor) -> Tensor:
        """Logits of every sample: (B, samples, leads) -> (B, samples, num_classes)."""
        *skips, x = self._levels(signals)
        for up, skip, pool in zip(self.ups, reversed(skips), reversed(self.pools), strict=True):
            x = up(torch.cat([skip, enlarged(x, pool)], dim=1))
        return self.head(x)[..., : self.samples].transpose(1, 2)

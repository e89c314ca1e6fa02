"""U-Net for delineation: a class for every sample of an ECG."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.dense import ConvBlock, check_kernels, check_widths, enlarged, padded
from models_torch.registry import register_model
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase


@register_model(
    title="U-Net",
    doi="10.1007/978-3-030-30425-6_29",
    parameters=205_421,
    cases=(
        ModelCase(
            {
                "samples": 64, "leads": 2, "channels": (3, 4, 5), "stem_kernel": 5, "kernel": 3,
                "head_kernel": 3,
            },
            parameters=666,
            samples=(1, 7, 63, 100),
            leads=(1, 12),
            columns=64,
        ),
    ),
)  # fmt: skip
class UNet(nn.Module):
    """U-Net of a delineator of LUDB; it takes records of any length.

    Each level halves the time axis and has two convolutions; on the way back the columns of a level are
    repeated and joined with those of the level above. A record is padded with its last sample to a multiple
    of 2 to the number of levels below the first. The reference's 205,760 parameters (1 lead, 4 classes) count
    biases in front of batch norms, which cancel them, and a batch norm of the logits; both are left out here.

    Moskalenko, Zolotykh and Osipov, Deep Learning for ECG Segmentation, Advances in Neural Computation,
    Machine Learning, and Cognitive Research III (2020) 246-254, doi:10.1007/978-3-030-30425-6_29.
    """

    def __init__(
        self,
        num_classes: int = 4,
        samples: int = 2000,
        leads: int = 1,
        channels: Sequence[int] = (4, 8, 16, 32, 64),
        stem_kernel: int = 25,
        kernel: int = 15,
        head_kernel: int = 9,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_kernels("unet", stem_kernel=stem_kernel, kernel=kernel, head_kernel=head_kernel)
        widths = check_widths("unet", channels)
        self.samples, self.leads, self.multiple = samples, leads, 2 ** (len(widths) - 1)
        self.stem = ConvBlock(leads, widths[0], widths[0], kernel=stem_kernel)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        grid = Grid().through(stem_kernel).through(stem_kernel)
        infos = [grid.info("stem", widths[0])]
        for level, (upper, lower) in enumerate(itertools.pairwise(widths)):
            self.downs.append(ConvBlock(upper, lower, lower, kernel=kernel))
            self.ups.insert(0, ConvBlock(lower + upper, upper, upper, kernel=kernel))
            grid = grid.through(2, stride=2, padding=0).through(kernel).through(kernel)
            infos.append(grid.info(f"downs.{level}", lower))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(widths[0], num_classes, head_kernel, padding=head_kernel // 2)
        self.feature_info = mark_explained(infos)

    def _levels(self, signals: Tensor) -> list[Tensor]:
        """Maps of the way down, the finest first."""
        maps = [self.stem(padded(signals, self.samples, self.leads, self.multiple, "unet"))]
        for down in self.downs:
            maps.append(down(functional.max_pool1d(maps[-1], 2)))
        return maps

    def features(self, signals: Tensor) -> Tensor:
        """Map of the lowest level: (B, samples, leads) -> (B, channels, columns)."""
        return self._levels(signals)[-1]

    def forward(self, signals: Tensor) -> Tensor:
        """Logits of every sample: (B, samples, leads) -> (B, samples, num_classes)."""
        *skips, x = self._levels(signals)
        x = self.dropout(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(torch.cat([skip, enlarged(x, 2)], dim=1))
        return self.head(x)[..., : self.samples].transpose(1, 2)

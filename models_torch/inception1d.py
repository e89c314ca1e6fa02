"""inception1d: InceptionTime, parallel convolutions of three lengths, in the form of the PTB-XL benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_torch.layers import ConcatPool, benchmark_neck, convolution, image, init_kaiming
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase, Published

_EVERY = 3  # blocks that a shortcut passes
_POOL = 3  # samples of the pooling branch


class InceptionBlock(nn.Module):
    """Convolutions of several lengths behind a bottleneck, and pooling; joined, batch norm, ReLU."""

    def __init__(self, channels_in: int, filters: int, kernels: Sequence[int], bottleneck: int):
        super().__init__()
        self.bottleneck = convolution(channels_in, bottleneck, 1)
        self.convolutions = nn.ModuleList(convolution(bottleneck, filters, kernel) for kernel in kernels)
        self.pooled = nn.Sequential(
            nn.MaxPool2d((1, _POOL), 1, (0, _POOL // 2)), convolution(channels_in, filters, 1)
        )
        self.bn = nn.BatchNorm2d((len(kernels) + 1) * filters)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.bottleneck(x)
        branches = [branch(narrow) for branch in self.convolutions]
        return self.relu(self.bn(torch.cat([*branches, self.pooled(x)], dim=1)))


class Residual(nn.Module):
    """Blocks beside a projected shortcut."""

    def __init__(self, blocks: Sequence[nn.Module], channels_in: int, channels_out: int):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        project = convolution(channels_in, channels_out, 1)
        self.shortcut = nn.Sequential(project, nn.BatchNorm2d(channels_out))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.blocks(x) + self.shortcut(x))


@register_model(
    title="inception1d",
    doi="10.1007/s10618-020-00710-y",
    parameters=507_653,
    published=(
        Published("all", {"macro_roc_auc": 0.925}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.931}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.930}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.921}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.899}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.953}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {
                "samples": 160,
                "leads": 3,
                "depth": 3,
                "filters": 4,
                "kernel": 12,
                "bottleneck": 4,
                "units": 6,
                "dropout": 0.0,
            },
            parameters=1_677,
            samples=(41, 250, 1000),
            leads=(1, 12),
        ),
    ),
)
class Inception1d(nn.Module):
    """inception1d: InceptionTime as the PTB-XL benchmark trains it.

    The convolutions of a block have `kernel`, a half and a quarter of it as lengths, made odd; every third
    block ends a residual connection. Maximum and mean over time pass through a layer of `units`, where the
    paper has the mean alone.

    Ismail Fawaz et al., "InceptionTime: Finding AlexNet for time series classification", Data Mining and
    Knowledge Discovery 34, 2020, doi:10.1007/s10618-020-00710-y; Strodthoff et al., IEEE JBHI 2021,
    doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        depth: int = 6,
        filters: int = 32,
        kernel: int = 40,
        bottleneck: int = 32,
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__()
        if depth < 1 or depth % _EVERY:
            raise UsageError(f"inception1d: depth must be a multiple of {_EVERY}, not {depth}")
        if kernel < 4:
            raise UsageError(f"inception1d: kernel must be at least 4, not {kernel}")
        self.samples, self.leads = samples, leads
        kernels = [length - 1 + length % 2 for length in (kernel, kernel // 2, kernel // 4)]
        channels, before = (len(kernels) + 1) * filters, leads
        grid, infos, groups = Grid(), [], []
        for index in range(depth // _EVERY):
            inputs = [before] + [channels] * (_EVERY - 1)
            blocks = [InceptionBlock(size, filters, kernels, bottleneck) for size in inputs]
            groups.append(Residual(blocks, before, channels))
            for _ in range(_EVERY):
                grid = grid.through(max(_POOL, *kernels))
            infos.append(grid.info(f"groups.{index}", channels, explained=index == depth // _EVERY - 1))
            before = channels
        self.groups = nn.Sequential(*groups)
        self.feature_info = tuple(infos)
        self.pool = ConcatPool()
        self.neck = benchmark_neck(2 * channels, units, dropout)
        self.head = nn.Linear(units, num_classes)
        init_kaiming(self)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last block: (B, samples, leads) -> (B, 4 filters, 1, samples)."""
        return self.groups(image(signals, self.samples, self.leads, "inception1d"))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.neck(self.pool(self.features(signals))))

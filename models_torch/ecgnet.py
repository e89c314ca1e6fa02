"""ECGNet: four parallel convolutions, a deep narrow residual network, and an LSTM over the raw signal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import LSTM, channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo, Grid, Segment, mark_explained
from utils.model_registry import ModelCase, Published

_GROW_EVERY = 4  # every fourth block widens; every second one halves the time axis


class ResidualBlock(nn.Module):
    """Twice batch norm - ReLU - dropout - convolution, beside a shortcut; max-pooling halves both paths."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, halve: bool, dropout: float):
        super().__init__()
        self.bn1 = nn.BatchNorm1d(channels_in)
        self.conv1 = nn.Conv1d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm1d(channels_out)
        self.conv2 = nn.Conv1d(channels_out, channels_out, kernel, padding=kernel // 2, bias=False)
        self.widen: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.widen = nn.Conv1d(channels_in, channels_out, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv1(self.dropout(functional.relu(self.bn1(x))))
        main = self.conv2(self.dropout(functional.relu(self.bn2(main))))
        shortcut = self.widen(x)
        if self.halve:
            main, shortcut = functional.max_pool1d(main, 2), functional.max_pool1d(shortcut, 2)
        return main + shortcut


@register_model(
    title="ECGNet",
    doi="10.1109/MeMeA.2018.8438739",
    parameters=1_031_949,
    published=(
        Published(
            "superdiagnostic",
            {"macro_roc_auc": 0.9101, "mean_accuracy_percent": 87.35, "max_f1": 0.7712},
            "10.1109/SMC52423.2021.9658706",
        ),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "filters": 4, "blocks": 9, "lstm_units": 4},
            parameters=20_609,
            samples=(120, 301, 1000),
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 400, "leads": 2, "filters": 2, "stem_kernels": (4, 7), "kernel": 3, "blocks": 3,
                "lstm_units": 2, "dropout": 0.0,
            },
            parameters=473,
            name="short kernels",
        ),
    ),
)  # fmt: skip
class ECGNet(nn.Module):
    """ECGNet in the form the IMLE-Net study compares with.

    The outputs of the parallel stem convolutions (`stem_kernels`) are joined along time; every second block
    halves the time axis and every fourth adds `filters` channels; an LSTM reads the raw signal.

    Murugesan et al., ECGNet: Deep Network for Arrhythmia Classification, IEEE MeMeA 2018,
    doi:10.1109/MeMeA.2018.8438739; sizes as in the IMLE-Net study.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        filters: int = 16,
        stem_kernels: Sequence[int] = (15, 17, 19, 21),
        kernel: int = 17,
        blocks: int = 15,
        lstm_units: int = 40,
        dropout: float = 0.1,
    ):
        super().__init__()
        if kernel % 2 == 0:
            raise UsageError(f"ecgnet: kernel must be odd, not {kernel}")
        self.samples, self.leads = samples, leads
        self.stem = nn.ModuleList(nn.Conv1d(leads, filters, size, bias=False) for size in stem_kernels)
        self.bn1 = nn.BatchNorm1d(filters)
        self.conv1 = nn.Conv1d(filters, filters, kernel, stride=2, padding=2, bias=False)
        channels, residual = filters, []
        for index in range(blocks):
            grown = channels + filters if index % _GROW_EVERY == _GROW_EVERY - 1 else channels
            residual.append(ResidualBlock(channels, grown, kernel, halve=index % 2 == 1, dropout=dropout))
            channels = grown
        self.blocks = nn.Sequential(*residual)
        self.bn2 = nn.BatchNorm1d(channels)
        self.lstm = LSTM(leads, lstm_units, batch_first=True)
        pooled = self._pooled_length(samples, stem_kernels, kernel, blocks)
        self.head = nn.Linear(channels * pooled + lstm_units, num_classes)
        self.feature_info = self._describe(stem_kernels, kernel)

    def _describe(self, stem_kernels: Sequence[int], kernel: int) -> tuple[FeatureInfo, ...]:
        """Maps of each time resolution; the last one is that of the last block.

        Strides of 256 samples leave four columns for ten seconds, so Grad-CAM reads an earlier block.
        """
        starts = [sum(self.samples - size + 1 for size in stem_kernels[:i]) for i in range(len(stem_kernels))]
        segments = tuple(map(Segment, starts, stem_kernels))
        grid = Grid().through(kernel, stride=2, padding=2)
        infos = [grid.info("conv1", self.conv1.out_channels, segments=segments)]
        for index, block in enumerate(self.blocks):
            grid = grid.through(kernel).through(kernel)
            if block.halve:
                grid = grid.through(2, stride=2, padding=0)
            else:
                infos.pop()
            infos.append(grid.info(f"blocks.{index}", block.conv2.out_channels, segments=segments))
        return mark_explained(infos)

    @staticmethod
    def _pooled_length(samples: int, stem_kernels: Sequence[int], kernel: int, blocks: int) -> int:
        """Time steps that are left for the head."""
        joined = sum(samples - size + 1 for size in stem_kernels)
        length = ((joined + 4 - kernel) // 2 + 1) >> (blocks // 2)
        pooled = (length + 4 - 8) // 8 + 1
        if samples < max(stem_kernels) or length < 1 or pooled < 1:
            raise UsageError(f"ecgnet: {samples} samples are too few for {blocks} blocks")
        return pooled

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last block: (B, samples, leads) -> (B, channels, columns of all joined stem outputs)."""
        x = channels_first(signals, self.samples, self.leads, "ecgnet")
        x = torch.cat([conv(x) for conv in self.stem], dim=2)
        x = self.conv1(functional.relu(self.bn1(x)))
        return functional.relu(self.bn2(self.blocks(x)))

    def forward(self, signals: Tensor) -> Tensor:
        x = functional.avg_pool1d(self.features(signals), 8, padding=2).flatten(1)
        _, (hidden, _) = self.lstm(signals)
        return self.head(torch.cat([x, hidden[-1]], dim=1))

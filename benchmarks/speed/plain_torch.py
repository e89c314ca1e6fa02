"""ECGNet and ResNet101 written as stacks of stock PyTorch modules, as the reference has them.

The yardstick of the speed benchmark, as in `benchmarks.speed.plain_keras`. They take signals (B, 1000, 12)
and give logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm1d(channels), nn.ReLU()]


class _Sum(nn.Module):
    """A main path, a shortcut, and what follows their sum."""

    def __init__(self, main: list[nn.Module], shortcut: list[nn.Module], after: list[nn.Module]):
        super().__init__()
        self.main, self.shortcut, self.after = (
            nn.Sequential(*main),
            nn.Sequential(*shortcut),
            nn.Sequential(*after),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.main(x) + self.shortcut(x))


class PlainECGNet(nn.Module):
    """ECGNet; 1,031,949 parameters."""

    def __init__(self):
        super().__init__()
        self.stem = nn.ModuleList(nn.Conv1d(12, 16, size, bias=False) for size in (15, 17, 19, 21))
        parts = [*_norm_relu(16), nn.Conv1d(16, 16, 17, stride=2, padding=2, bias=False)]
        channels = 16
        for index in range(15):
            grown = channels + 16 if index in (3, 7, 11) else channels
            main = [
                *_norm_relu(channels), nn.Dropout(0.1), nn.Conv1d(channels, grown, 17, padding=8, bias=False),
                *_norm_relu(grown), nn.Dropout(0.1), nn.Conv1d(grown, grown, 17, padding=8, bias=False),
            ]  # fmt: skip
            shortcut = [nn.Conv1d(channels, grown, 1, bias=False)] if grown > channels else []
            pool = [nn.MaxPool1d(2)] if index % 2 else []
            parts.append(_Sum(main + pool, shortcut + pool, []))
            channels = grown
        self.body = nn.Sequential(*parts, *_norm_relu(64), nn.AvgPool1d(8, padding=2), nn.Flatten())
        self.lstm = nn.LSTM(12, 40, batch_first=True)
        self.head = nn.Linear(168, 5)

    def forward(self, signals: Tensor) -> Tensor:
        x = signals.transpose(1, 2)
        features = self.body(torch.cat([conv(x) for conv in self.stem], dim=2))
        return self.head(torch.cat([features, self.lstm(signals)[1][0][-1]], dim=1))


class PlainResNet101(nn.Module):
    """ResNet101 with kernels 7, 11, 7; 156,889,221 parameters."""

    def __init__(self):
        super().__init__()
        parts = [nn.Conv1d(12, 64, 15, stride=2, padding=7, bias=False), *_norm_relu(64)]
        parts.append(nn.MaxPool1d(3, stride=2, padding=1))
        channels = 64
        for width, stride, count in ((64, 1, 3), (128, 2, 4), (256, 2, 23), (512, 2, 3)):
            for index in range(count):
                step = stride if index == 0 else 1
                main = [
                    nn.Conv1d(channels, width, 7, padding=3, bias=False), *_norm_relu(width),
                    nn.Conv1d(width, width, 11, stride=step, padding=5, bias=False), *_norm_relu(width),
                    nn.Dropout(0.2), nn.Conv1d(width, 4 * width, 7, padding=3, bias=False),
                    nn.BatchNorm1d(4 * width),
                ]  # fmt: skip
                shortcut: list[nn.Module] = []
                if index == 0:
                    project = nn.Conv1d(channels, 4 * width, 1, stride=step, bias=False)
                    shortcut = [project, nn.BatchNorm1d(4 * width)]
                parts.append(_Sum(main, shortcut, [nn.ReLU()]))
                channels = 4 * width
        self.body = nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Linear(channels, 5)

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.body(signals.transpose(1, 2)))

"""ECGNet: four parallel convolutions, a deep narrow residual network, and an LSTM over the raw signal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError

_GROW_EVERY = 4  # every fourth block widens; every second one halves the time axis


class ResidualBlock(nn.Module):
    """Twice batch norm - ReLU - dropout - convolution, beside a shortcut.

    ``channels_in``: channels of the input.
    ``channels_out``: channels of the output; where they differ, the shortcut is a convolution of
        size 1.
    ``kernel``: kernel of the convolutions, odd.
    ``halve``: max-pooling by 2 on both paths.
    ``dropout``: dropout before each convolution.
    """

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


@register_model
class ECGNet(nn.Module):
    """ECGNet in the form the IMLE-Net study compares with; 1,031,949 parameters with the defaults.

    Takes standardised signals (B, samples, leads), returns logits (B, num_classes).

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    samples : int
        Samples of a record (1000 = 10 s at 100 Hz); any length of about 100 or more.
    leads : int
        Number of leads.
    filters : int
        Channels of the first blocks; every fourth block adds as many again.
    stem_kernels : sequence of int
        Kernels of the parallel convolutions, whose outputs are joined along time.
    kernel : int
        Kernel of the other convolutions, odd.
    blocks : int
        Residual blocks; every second one halves the time axis.
    lstm_units : int
        Units of the LSTM that reads the raw signal.
    dropout : float
        Dropout before each convolution of the blocks.

    Raises
    ------
    UsageError
        `samples` is too short for that many blocks, or `kernel` is even.

    References
    ----------
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
        self.lstm = nn.LSTM(leads, lstm_units, batch_first=True)
        pooled = self._pooled_length(samples, stem_kernels, kernel, blocks)
        self.head = nn.Linear(channels * pooled + lstm_units, num_classes)

    @staticmethod
    def _pooled_length(samples: int, stem_kernels: Sequence[int], kernel: int, blocks: int) -> int:
        """Time steps that are left for the head."""
        joined = sum(samples - size + 1 for size in stem_kernels)
        length = ((joined + 4 - kernel) // 2 + 1) >> (blocks // 2)
        pooled = (length + 4 - 8) // 8 + 1
        if samples < max(stem_kernels) or length < 1 or pooled < 1:
            raise UsageError(f"ecgnet: {samples} samples are too few for {blocks} blocks")
        return pooled

    def forward(self, signals: Tensor) -> Tensor:
        x = channels_first(signals, self.samples, self.leads, "ecgnet")
        x = torch.cat([conv(x) for conv in self.stem], dim=2)
        x = self.conv1(functional.relu(self.bn1(x)))
        x = functional.relu(self.bn2(self.blocks(x)))
        x = functional.avg_pool1d(x, 8, padding=2).flatten(1)
        _, (hidden, _) = self.lstm(signals)
        return self.head(torch.cat([x, hidden[-1]], dim=1))

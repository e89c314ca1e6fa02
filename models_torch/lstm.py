"""LSTM over the samples of a record, in the form of the PTB-XL benchmark."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models_torch.layers import LSTM, benchmark_neck, channels_first
from models_torch.registry import register_model
from utils.feature_info import FeatureInfo
from utils.model_registry import ModelCase, Published


class SequencePool(nn.Module):
    """Mean and maximum over time, and what each direction gives at its end.

    Shapes: (B, channels, samples) -> (B, 3 channels).
    """

    def __init__(self, bidirectional: bool):
        super().__init__()
        self.bidirectional = bidirectional

    def forward(self, x: Tensor) -> Tensor:
        end = x[:, :, -1]
        if self.bidirectional:
            half = x.shape[1] // 2
            end = torch.cat([x[:, :half, -1], x[:, half:, 0]], dim=1)
        return torch.cat([x.mean(dim=2), x.amax(dim=2), end], dim=1)


@register_model(
    title="lstm",
    doi="10.1109/JBHI.2020.3022989",
    parameters=903_685,
    published=(
        Published("all", {"macro_roc_auc": 0.907}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.927}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.928}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.927}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.851}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.953}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "lstm_units": 4, "units": 6, "dropout": 0.0},
            parameters=453,
            samples=(20, 250),
            leads=(1, 12),
        ),
    ),
)
class Lstm(nn.Module):
    """lstm of the PTB-XL benchmark: layers of LSTM read the samples one by one.

    Mean, maximum and end of what the last layer gives pass through a layer of `units`.

    Strodthoff et al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL", IEEE JBHI 25(5),
    2021, doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        lstm_units: int = 256,
        layers: int = 2,
        bidirectional: bool = False,
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.samples, self.leads = samples, leads
        self.lstm = LSTM(leads, lstm_units, layers, batch_first=True, bidirectional=bidirectional)
        channels = lstm_units * (2 if bidirectional else 1)
        # a column has read everything before it, or everything
        seen = 2 * samples - 1 if bidirectional else samples
        self.feature_info = (
            FeatureInfo("columns", channels, 1, seen, 1 - samples, middle=0.0, explained=True),
        )
        self.columns = nn.Identity()  # Grad-CAM reads its output
        self.pool = SequencePool(bidirectional)
        self.neck = benchmark_neck(3 * channels, units, dropout)
        self.head = nn.Linear(units, num_classes)
        for layer in (*self.neck, self.head):
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def features(self, signals: Tensor) -> Tensor:
        """What the last layer gives for each sample: (B, samples, leads) -> (B, channels, samples)."""
        channels_first(signals, self.samples, self.leads, self.config["name"])
        return self.columns(self.lstm(signals)[0].transpose(1, 2))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.neck(self.pool(self.features(signals))))

"""ECGConvNet: three convolutions and a perceptron over all that they leave."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import convolution, image
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase


@register_model(
    title="ECGConvNet",
    doi="10.1109/5.726791",
    parameters=551_749,
    cases=(
        ModelCase(
            {
                "samples": 160,
                "leads": 3,
                "filters": 6,
                "units": (8, 4),
                "feature_dropout": 0.0,
                "dropout": 0.0,
            },
            parameters=1_587,
            samples=(9, 333),
            leads=(1, 12),
        ),
    ),
)
class ECGConvNet(nn.Module):
    """ECGConvNet of the ECG-CNN study: its weights depend on the length of the record.

    Three times convolution, batch norm, ReLU and max-pooling of 2, then a perceptron over all channels and
    columns. `feature_dropout` acts in front of it, `dropout` in front of the last layer.

    LeCun et al., "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11),
    1998, doi:10.1109/5.726791, is where convolutions, pooling and a perceptron come from.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        filters: int = 64,
        kernels: Sequence[int] = (16, 3, 3),
        units: Sequence[int] = (64, 32),
        feature_dropout: float = 0.3,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.samples, self.leads = samples, leads
        grid, infos, layers, before, columns = Grid(), [], list[nn.Module](), leads, samples
        for index, kernel in enumerate(kernels):
            layers.append(
                nn.Sequential(
                    convolution(before, filters, kernel, bias=True),
                    nn.BatchNorm2d(filters),
                    nn.ReLU(),
                    nn.MaxPool2d((1, 2)),
                )
            )
            columns = (columns + 1 - kernel % 2) // 2
            grid, before = grid.through(kernel).through(2, stride=2, padding=0), filters
            infos.append(grid.info(f"layers.{index}", filters, explained=index == len(kernels) - 1))
        if columns < 1:
            raise UsageError(f"ecgconvnet: {samples} samples are too few for {len(kernels)} poolings")
        self.layers = nn.Sequential(*layers)
        self.feature_info = tuple(infos)
        dense: list[nn.Module] = [nn.Dropout(feature_dropout)]
        before = filters * columns
        for width in units:
            dense += [nn.Linear(before, width), nn.ReLU()]
            before = width
        self.dense = nn.Sequential(*dense, nn.Dropout(dropout))
        self.head = nn.Linear(before, num_classes)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last convolution: (B, samples, leads) -> (B, filters, 1, samples / 8)."""
        return self.layers(image(signals, self.samples, self.leads, "ecgconvnet"))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.dense(self.features(signals).flatten(1)))

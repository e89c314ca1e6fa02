"""Fully convolutional network of Wang et al. in the form of the PTB-XL benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import ConcatPool, benchmark_neck, convolution, image, init_kaiming
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase, Published


@register_model(
    title="fcn_wang",
    doi="10.1109/IJCNN.2017.7966039",
    parameters=309_765,
    published=(
        Published("all", {"macro_roc_auc": 0.918}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.926}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.927}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.925}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.869}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.931}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "widths": (6, 8, 6), "units": 6, "dropout": 0.0},
            parameters=717,
            samples=(16, 33, 1000),
            leads=(1, 12),
        ),
    ),
)
class FCN_Wang(nn.Module):  # noqa: N801  (its registered name has the underscore)
    """fcn_wang: convolutions at full time resolution, as the PTB-XL benchmark trains it.

    Convolution, batch norm and ReLU for each of `widths` and `kernels`; maximum and mean over time then pass
    through a layer of `units`, where the paper has the mean alone.

    Wang et al., "Time series classification from scratch with deep neural networks: a strong baseline", IJCNN
    2017, doi:10.1109/IJCNN.2017.7966039; Strodthoff et al., IEEE JBHI 2021, doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        widths: Sequence[int] = (128, 256, 128),
        kernels: Sequence[int] = (8, 5, 3),
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__()
        if len(widths) != len(kernels):
            raise UsageError(f"fcn_wang: {len(widths)} widths need as many kernels, not {len(kernels)}")
        if samples < 2 * max(kernels):
            raise UsageError(f"fcn_wang: {samples} samples are too few for kernels of {max(kernels)}")
        self.samples, self.leads = samples, leads
        grid, infos, layers, before = Grid(), [], [], leads
        for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            padding = (kernel - 1) // 2
            convolved = convolution(before, width, kernel, padding=padding)
            layers.append(nn.Sequential(convolved, nn.BatchNorm2d(width), nn.ReLU()))
            grid, before = grid.through(kernel, padding=padding), width
            infos.append(grid.info(f"layers.{index}", width, explained=index == len(widths) - 1))
        self.layers = nn.Sequential(*layers)
        self.feature_info = tuple(infos)
        self.pool = ConcatPool()
        self.neck = benchmark_neck(2 * before, units, dropout)
        self.head = nn.Linear(units, num_classes)
        init_kaiming(self)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last layer: (B, samples, leads) -> (B, widths[-1], 1, samples)."""
        return self.layers(image(signals, self.samples, self.leads, "fcn_wang"))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.neck(self.pool(self.features(signals))))

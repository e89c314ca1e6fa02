"""ECGResNet: a residual network of three stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import convolution, image
from models_torch.registry import register_model
from models_torch.resnet1d_wang import BasicBlock
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase


@register_model(
    title="ECGResNet",
    doi="10.1109/CVPR.2016.90",
    parameters=961_413,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "widths": (4, 6, 8)},
            parameters=1_689,
            samples=(33, 250, 1000),
            leads=(1, 12),
        ),
    ),
)
class ECGResNet(nn.Module):
    """ECGResNet of the ECG-CNN study: its weights do not depend on the length of the record.

    A strided convolution and pooling, then two basic blocks for each of `widths`; every stage after the first
    halves the time axis; the mean over time is classified.

    He et al., "Deep residual learning for image recognition", CVPR 2016, doi:10.1109/CVPR.2016.90.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        widths: Sequence[int] = (64, 128, 256),
        blocks: int = 2,
        stem_kernel: int = 7,
        kernel: int = 3,
    ):
        super().__init__()
        if stem_kernel % 2 == 0 or kernel % 2 == 0:
            raise UsageError(f"ecgresnet: kernels must be odd, not {stem_kernel} and {kernel}")
        self.samples, self.leads = samples, leads
        self.stem = nn.Sequential(
            convolution(leads, widths[0], stem_kernel, stride=2),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            nn.MaxPool2d((1, 3), (1, 2), (0, 1)),
        )
        grid, before = Grid().through(stem_kernel, stride=2).through(3, stride=2), widths[0]
        infos, stages = [], list[nn.Module]()
        for stage, width in enumerate(widths):
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                stages.append(BasicBlock(before, width, (kernel, kernel), stride))
                grid, before = grid.through(kernel, stride).through(kernel), width
            infos.append(grid.info(f"blocks.{len(stages) - 1}", width, explained=stage == len(widths) - 1))
        self.blocks = nn.Sequential(*stages)
        self.feature_info = tuple(infos)
        self.head = nn.Linear(before, num_classes)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, samples, leads) -> (B, widths[-1], 1, samples / 16)."""
        return self.blocks(self.stem(image(signals, self.samples, self.leads, "ecgresnet")))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=(2, 3)))

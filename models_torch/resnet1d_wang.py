"""ResNet of Wang et al. in the form of the PTB-XL benchmark: three blocks of 128 channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models_torch.layers import ConcatPool, benchmark_neck, convolution, image, init_kaiming
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid
from utils.model_registry import ModelCase, Published


class BasicBlock(nn.Module):
    """Twice convolution - batch norm, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, kernels: Sequence[int], stride: int):
        super().__init__()
        first, second = kernels
        self.conv1 = convolution(channels_in, channels_out, first, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(channels_out, channels_out, second)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            project = convolution(channels_in, channels_out, 1, stride)
            self.shortcut = nn.Sequential(project, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        main = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(main + self.shortcut(x))


@register_model(
    title="resnet1d_wang",
    doi="10.1109/IJCNN.2017.7966039",
    parameters=473_349,
    published=(
        Published("all", {"macro_roc_auc": 0.919}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.936}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.928}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.930}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.880}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.946}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "width": 8, "units": 6, "dropout": 0.0},
            parameters=2_157,
            samples=(33, 250, 1000),
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 80,
                "leads": 2,
                "width": 4,
                "blocks": 2,
                "kernels": (3, 5),
                "stem_kernel": 3,
                "units": 4,
                "dropout": 0.0,
            },
            parameters=429,
            name="other kernels",
        ),
    ),
)
class ResNet1d_Wang(nn.Module):  # noqa: N801  (its registered name has the underscore)
    """resnet1d_wang: residual network of Wang et al., as the PTB-XL benchmark trains it.

    The paper has three convolutions with kernels 8, 5 and 3 in each block, 64 and 128 channels, full time
    resolution and a mean over time. The benchmark has two convolutions in a block (`kernels`), `width`
    channels everywhere, halves the time axis in every block after the first, and reads maximum and mean over
    time through a layer of `units`.

    Wang et al., "Time series classification from scratch with deep neural networks: a strong baseline", IJCNN
    2017, doi:10.1109/IJCNN.2017.7966039; Strodthoff et al., IEEE JBHI 2021, doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        width: int = 128,
        blocks: int = 3,
        stem_kernel: int = 7,
        kernels: Sequence[int] = (5, 3),
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__()
        if len(kernels) != 2 or any(size % 2 == 0 for size in (stem_kernel, *kernels)):
            raise UsageError(
                f"resnet1d_wang: kernels must be two odd numbers, and stem_kernel odd, not {list(kernels)} "
                f"and {stem_kernel}"
            )
        self.samples, self.leads = samples, leads
        self.stem = nn.Sequential(
            convolution(leads, width, stem_kernel),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        grid, infos = Grid().through(stem_kernel), []
        strides = [1] + [2] * (blocks - 1)
        self.blocks = nn.Sequential(*(BasicBlock(width, width, kernels, stride) for stride in strides))
        for index, stride in enumerate(strides):
            grid = grid.through(kernels[0], stride).through(kernels[1])
            infos.append(grid.info(f"blocks.{index}", width, explained=index == blocks - 1))
        self.feature_info = tuple(infos)
        self.pool = ConcatPool()
        self.neck = benchmark_neck(2 * width, units, dropout)
        self.head = nn.Linear(units, num_classes)
        init_kaiming(self)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last block: (B, samples, leads) -> (B, width, 1, samples / 4)."""
        return self.blocks(self.stem(image(signals, self.samples, self.leads, "resnet1d_wang")))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.neck(self.pool(self.features(signals))))

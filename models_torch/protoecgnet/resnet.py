"""The residual trunks of ProtoECGNet: from signals to a feature map that keeps the time axis.

The reference names two families. ``resnet1d*`` convolve over time and take the leads as channels. ``resnet*``
are image networks whose first kernel spans all the leads: after it the map has height 1, so that they, too,
convolve over time only, and two thirds of their 3x3 weights never meet anything but padding. Both are
therefore built with one-dimensional layers here, which give the same function of the same (live) weights for
a third of the arithmetic. ``reference_layers=True`` builds the image layers as they were.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from utils.errors import UsageError, nearest
from utils.feature_info import FeatureInfo, Grid

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BACKBONES = [f"{family}{depth}" for family in ("resnet1d", "resnet") for depth in _BLOCKS]
_IMAGENET_CLASSES = 1000


def _conv(flat: bool, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution over time; as a square one on a map of height 1 where the reference has it so."""
    layer = nn.Conv1d if flat else nn.Conv2d
    return layer(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions (or narrow - convolve - widen) with batch norm, and a shortcut."""

    def __init__(self, flat: bool, channels_in: int, width: int, stride: int, deep: bool, kernels: tuple):
        super().__init__()
        channels_out = width * 4 if deep else width
        first, second = kernels
        norm = nn.BatchNorm1d if flat else nn.BatchNorm2d
        if deep:
            plan = [(channels_in, width, 1, 1), (width, width, first, stride), (width, channels_out, 1, 1)]
        else:
            plan = [(channels_in, width, first, stride), (width, width, second, 1)]
        self.convs = nn.ModuleList(_conv(flat, a, b, kernel, step) for a, b, kernel, step in plan)
        self.norms = nn.ModuleList(norm(b) for _, b, _, _ in plan)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            project = _conv(flat, channels_in, channels_out, 1, stride)
            self.downsample = nn.Sequential(project, norm(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        main = x
        last = len(self.convs) - 1
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            main = norm(conv(main))
            if index < last:
                main = functional.relu(main)
        return functional.relu(main + self.downsample(x))


class ResNet(nn.Module):
    """Residual trunk: (B, leads, T) to a feature map (B, channels, columns), one column for 32 samples.

    ``bounded``: kernels of size 3 in the first convolution of each stage only, the others of size 1. One
        column then sees 75 samples (0.75 s at 100 Hz) instead of 435 (4.35 s), so that a prototype is where
        it is drawn.
    ``dropout``: between the third and the fourth stage.
    ``decimation``: widens the kernel and the stride of the first convolution; 5 makes 500 Hz look like 100
        Hz.
    ``reference_layers``: for ``resnet*``: the square kernels and the unused classification layer of the image
        network.
    ``feature_info``: maps of the stages; the last one is the trunk's output.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, doi:10.1109/CVPR.2016.90; bounded
    receptive fields as in Brendel and Bethge, BagNets, ICLR 2019, arXiv:1904.00760.
    """

    def __init__(
        self,
        backbone: str = "resnet1d18",
        leads: int = 12,
        width: int = 64,
        bounded: bool = False,
        dropout: float = 0.0,
        decimation: int = 1,
        reference_layers: bool = False,
    ):
        super().__init__()
        if backbone not in BACKBONES:
            raise UsageError(f"unknown backbone '{backbone}': {nearest(backbone, BACKBONES)}")
        if bounded and reference_layers:
            raise UsageError("bounded and reference_layers exclude each other: the reference is not bounded")
        depth = int(backbone.removeprefix("resnet1d").removeprefix("resnet"))
        flat = backbone.startswith("resnet1d") or not reference_layers
        deep = depth >= 50
        kernel, stride = 7 * decimation + (7 * decimation + 1) % 2, 2 * decimation
        if flat:
            self.conv1: nn.Module = nn.Conv1d(leads, width, kernel, stride, kernel // 2, bias=False)
        else:
            self.conv1 = nn.Conv2d(1, width, (leads, kernel), (1, stride), (0, kernel // 2), bias=False)
        self.bn1: nn.Module = nn.BatchNorm1d(width) if flat else nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.MaxPool1d(3, 2, 1) if flat else nn.MaxPool2d(3, 2, 1)
        grid = Grid().through(kernel, stride).through(3, stride=2)
        infos: list[FeatureInfo] = []
        channels, stages = width, []
        for stage, count in enumerate(_BLOCKS[depth]):
            blocks = []
            for index in range(count):
                step = 2 if stage > 0 and index == 0 else 1
                kernels = (3 if not bounded or index == 0 else 1, 1 if bounded else 3)
                inside = width * 2**stage
                blocks.append(_Block(flat, channels, inside, step, deep, kernels))
                channels = inside * 4 if deep else inside
                grid = grid.through(kernels[0], step)
                grid = grid if deep else grid.through(kernels[1])
            stages.append(nn.Sequential(*blocks))
            infos.append(grid.info(f"stages.{stage}", channels))
        self.stages = nn.ModuleList(stages)
        self.dropout = nn.Dropout(dropout)
        self.backbone, self.flat, self.channels, self.stride = backbone, flat, channels, grid.stride
        self.first_middle = 0  # sample that column 0 stands for
        self.feature_info = (*infos[:-1], grid.info("", channels, explained=True))
        if not flat:  # never called: the image network carries it along, and the reference counts it
            self.fc = nn.Linear(channels, _IMAGENET_CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def columns(self, samples: int) -> int:
        """Columns of the feature map of a signal."""
        return -(-samples // self.stride)

    def forward(self, x: Tensor) -> Tensor:
        if not self.flat:
            x = x.unsqueeze(1)
        x = self.pool(functional.relu(self.bn1(self.conv1(x))))
        for index, stage in enumerate(self.stages):
            x = stage(self.dropout(x) if index == 3 else x)
        return x if self.flat else x.squeeze(2)

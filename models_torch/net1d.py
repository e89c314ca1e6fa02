"""Net1D: grouped bottlenecks with squeeze and excitation, in seven stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import convolution, image
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import Grid, mark_explained
from utils.model_registry import ModelCase, Published

_REDUCTION = 2  # of squeeze and excitation


class SameConvolution(nn.Module):
    """Convolution that leaves the length, divided by the stride and rounded up, for kernels of any length."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, groups: int = 1):
        super().__init__()
        self.pad = ((kernel - 1) // 2, kernel // 2)
        self.conv = convolution(channels_in, channels_out, kernel, stride, 0, groups, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, self.pad))


class Block(nn.Module):
    """Bottleneck with batch norm, activation and dropout in front of its convolutions, beside a shortcut.

    The shortcut pools where the block strides and has zeros for channels that are new.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int,
        groups: int,
        dropout: float,
        first: bool,
    ):
        super().__init__()

        def activated(channels: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(channels), nn.SiLU(), nn.Dropout(dropout)]

        self.main = nn.Sequential(
            *(() if first else activated(channels_in)),
            convolution(channels_in, channels_out, 1, bias=True),
            *activated(channels_out),
            SameConvolution(channels_out, channels_out, kernel, stride, groups),
            *activated(channels_out),
            convolution(channels_out, channels_out, 1, bias=True),
        )
        self.excite = nn.Sequential(
            nn.Linear(channels_out, channels_out // _REDUCTION),
            nn.SiLU(),
            nn.Linear(channels_out // _REDUCTION, channels_out),
            nn.Sigmoid(),
        )
        self.pool = nn.MaxPool2d((1, stride), ceil_mode=True) if stride > 1 else nn.Identity()
        before = (channels_out - channels_in) // 2
        self.widen = (before, channels_out - channels_in - before)

    def forward(self, x: Tensor) -> Tensor:
        main = self.main(x)
        weights = self.excite(main.mean(dim=(2, 3)))
        shortcut = functional.pad(self.pool(x), (0, 0, 0, 0, *self.widen))
        return main * weights[:, :, None, None] + shortcut


@register_model(
    title="Net1D",
    doi="10.1145/3394486.3403212",
    parameters=30_670_261,
    published=(
        Published("all", {"macro_roc_auc": 0.929}, "10.48550/arXiv.2509.25095"),
        Published("diagnostic", {"macro_roc_auc": 0.940}, "10.48550/arXiv.2509.25095"),
        Published("subdiagnostic", {"macro_roc_auc": 0.926}, "10.48550/arXiv.2509.25095"),
        Published("superdiagnostic", {"macro_roc_auc": 0.924}, "10.48550/arXiv.2509.25095"),
        Published("form", {"macro_roc_auc": 0.893}, "10.48550/arXiv.2509.25095"),
        Published("rhythm", {"macro_roc_auc": 0.937}, "10.48550/arXiv.2509.25095"),
    ),
    cases=(
        ModelCase(
            {
                "samples": 160, "leads": 3, "width": 4, "widths": (4, 8), "blocks": (1, 2), "kernel": 6,
                "group_width": 2,
            },
            parameters=963,
            samples=(33, 250, 1000),
            leads=(1, 12),
        ),
    ),
)  # fmt: skip
class Net1D(nn.Module):
    """Net1D in the sizes of ECGFounder; its weights do not depend on the length of the record.

    Every stage halves the time axis. The original drops half of the activations in front of each convolution;
    `dropout` is 0 here, as in the later studies that train it from scratch.

    Hong et al., "HOLMES: Health OnLine Model Ensemble Serving for Deep Learning Models in Intensive Care
    Units", KDD 2020, doi:10.1145/3394486.3403212; Li et al., "An Electrocardiogram Foundation Model Built on
    over 10 Million Recordings", NEJM AI 2(7), 2025, doi:10.1056/AIoa2401033 (sizes).
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        width: int = 64,
        widths: Sequence[int] = (64, 160, 160, 400, 400, 1024, 1024),
        blocks: Sequence[int] = (2, 2, 2, 3, 3, 4, 4),
        kernel: int = 16,
        group_width: int = 16,
        dropout: float = 0.0,
    ):
        super().__init__()
        if len(widths) != len(blocks) or any(channels % group_width for channels in widths):
            raise UsageError(
                f"net1d: widths {list(widths)} must be multiples of group_width {group_width}, with as many "
                f"numbers of blocks, not {list(blocks)}"
            )
        if list(widths) != sorted(widths) or widths[0] < width:
            raise UsageError(f"net1d: widths {[width, *widths]} must not fall")
        self.samples, self.leads = samples, leads
        self.stem = nn.Sequential(SameConvolution(leads, width, kernel, 2), nn.BatchNorm2d(width), nn.SiLU())
        grid, before = Grid().through(kernel, 2, (kernel - 1) // 2), width
        infos, stages = [], list[nn.Module]()
        for channels, count in zip(widths, blocks, strict=True):
            for index in range(count):
                stride, groups = 1 if index else 2, channels // group_width
                stages.append(Block(before, channels, kernel, stride, groups, dropout, not stages))
                grid, before = grid.through(kernel, stride, (kernel - 1) // 2), channels
            infos.append(grid.info(f"blocks.{len(stages) - 1}", channels))
        self.blocks = nn.Sequential(*stages)
        self.feature_info = mark_explained(infos)
        self.head = nn.Linear(before, num_classes)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, samples, leads) -> (B, widths[-1], 1, samples / 2^(stages + 1))."""
        return self.blocks(self.stem(image(signals, self.samples, self.leads, "net1d")))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=(2, 3)))

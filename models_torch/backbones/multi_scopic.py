"""MultiScopicNet: parallel branches whose dilations differ, the network that won CPSC 2019."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from models_torch.backbones.base import Backbone, BackboneConfig, register_backbone
from models_torch.backbones.layers import Parallel, conv_unit, norm_layer
from utils.errors import UsageError


@dataclass
class MultiScopicConfig(BackboneConfig):
    """Branches of blocks; a block is convolutions, one normalization, max-pooling and dropout.

    ``dilations``: of each convolution, by branch and block. The other lists have one entry a block.
    """

    num_filters: list[int] = field(default_factory=lambda: [96, 192, 384])
    filter_lengths: list[int] = field(default_factory=lambda: [11, 7, 5])
    dilations: list[list[list[int]]] = field(
        default_factory=lambda: [
            [[1], [1, 1], [1, 1, 1]],
            [[2], [2, 4], [8, 8, 8]],
            [[4], [4, 8], [16, 32, 64]],
        ]
    )
    subsample_lengths: list[int] = field(default_factory=lambda: [2, 2, 2])
    dropouts: list[float] = field(default_factory=lambda: [0.0, 0.2, 0.0])
    groups: int = 1
    activation: str = "relu"
    norm: str = "batch"


@register_backbone(
    "multi_scopic",
    {
        "multi_scopic_small": {"num_filters": [16, 32, 64]},
        "multi_scopic_leadwise": {"num_filters": [192, 384, 768], "groups": 12},
    },
)
class MultiScopic(Backbone[MultiScopicConfig]):
    """Branches that read the signal at different scales; their maps are joined along the channels.

    Cai and Hu, QRS complex detection using novel deep learning neural networks, 2020,
    doi:10.1109/ACCESS.2020.2997473.
    """

    config_class = MultiScopicConfig

    def build(self, config: MultiScopicConfig) -> None:
        """Add the branches as one layer."""
        blocks = len(config.num_filters)
        for name in ("filter_lengths", "subsample_lengths", "dropouts"):
            if len(getattr(config, name)) != blocks:
                raise UsageError(f"multi_scopic: {name} and num_filters differ in length: one entry a block")
        if not config.dilations or any(len(branch) != blocks for branch in config.dilations):
            raise UsageError(
                f"multi_scopic: each branch of dilations has {blocks} blocks, as num_filters has"
            )
        branches: list[nn.Module] = [self._branch(config, dilations) for dilations in config.dilations]
        self.add("branches", Parallel(branches), len(branches) * config.num_filters[-1])

    def _branch(self, config: MultiScopicConfig, dilations: list[list[int]]) -> nn.Sequential:
        branch, channels = nn.Sequential(), self.leads
        for index, filters in enumerate(config.num_filters):
            block = nn.Sequential()
            for dilation in dilations[index]:
                block.append(
                    conv_unit(
                        channels, filters, config.filter_lengths[index], dilation=dilation, bias=True,
                        groups=config.groups, norm="none", activation=config.activation,
                    )
                )  # fmt: skip
                channels = filters
            block.append(norm_layer(config.norm, filters))
            block.append(nn.MaxPool1d(config.subsample_lengths[index]))
            if config.dropouts[index]:
                block.append(nn.Dropout(config.dropouts[index]))
            branch.append(block)
        return branch

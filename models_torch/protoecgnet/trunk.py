"""The black box beside ProtoECGNet: its trunk with a linear layer on top (stage ``feature_extractor``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models_torch.layers import channels_first
from models_torch.protoecgnet.model_trunk import make_trunk
from models_torch.protoecgnet.prototype_classifier import BRANCHES
from models_torch.protoecgnet.resnet import ResNet
from models_torch.registry import register_model
from utils.errors import UsageError, nearest
from utils.model_registry import ModelCase


@register_model(
    title="ProtoECGNet's trunk",
    doi="10.48550/arXiv.2504.08713",
    parameters=3_930_757,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "width": 4}, parameters=16_465, samples=(64, 333), leads=(1, 12)
        ),
        ModelCase(
            {"samples": 640, "leads": 2, "width": 2, "branch": "rhythm", "bounded": True, "decimation": 5},
            parameters=2_229,
            name="rhythm at 500 Hz",
            samples=(800,),
        ),
    ),
)
class ProtoECGNet_Trunk(nn.Module):
    """A trunk of ProtoECGNet as a plain classifier; the branch decides the backbone where none is named.

    The head reads all the columns for ``resnet*``, the average over time for ``resnet1d*``, as in the
    reference, and for registered models. The other options are those of `ResNet`.

    Sethi et al., ProtoECGNet, MLHC 2025, PMLR 298, arXiv:2504.08713.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        branch: str = "morphology",
        backbone: str = "",
        width: int = 64,
        bounded: bool = False,
        dropout: float = 0.0,
        decimation: int = 1,
        reference_layers: bool = False,
        backbone_config: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if branch not in BRANCHES:
            raise UsageError(f"protoecgnet: unknown branch '{branch}': {nearest(branch, BRANCHES)}")
        backbone = backbone or BRANCHES[branch].backbone
        self.samples, self.leads = samples, leads
        sizes = (leads, width, bounded, dropout, decimation, reference_layers)
        self.trunk = make_trunk(backbone, samples, backbone_config, *sizes)
        self.averaged = not (isinstance(self.trunk, ResNet) and not backbone.startswith("resnet1d"))
        columns = 1 if self.averaged else self.trunk.columns(samples)
        self.head = nn.Linear(self.trunk.channels * columns, num_classes)
        self.feature_info = tuple(info.inside("trunk") for info in self.trunk.feature_info)

    def features(self, signals: Tensor) -> Tensor:
        """Map of the last stage: (B, samples, leads) -> (B, channels, columns)."""
        return self.trunk(channels_first(signals, self.samples, self.leads, "protoecgnet_trunk"))

    def forward(self, signals: Tensor) -> Tensor:
        x = self.features(signals)
        return self.head(x.mean(2) if self.averaged else torch.flatten(x, 1))

"""The black box beside ProtoECGNet: its trunk with a linear layer on top (stage ``feature_extractor``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models_torch.layers import channels_first
from models_torch.protoecgnet.branches import BRANCHES
from models_torch.protoecgnet.resnet import ResNet
from models_torch.registry import register_model
from utils.errors import UsageError, nearest


@register_model
class ProtoECGNet_Trunk(nn.Module):
    """A trunk of ProtoECGNet as a plain classifier; 3,857,040 parameters for rhythm with 16 classes.

    Takes standardised signals (B, samples, leads), returns logits (B, num_classes). The head reads the
    average over time for ``resnet1d*``, all the columns for ``resnet*``, as in the reference.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    samples : int
        Samples of a record (1000 = 10 s at 100 Hz).
    leads : int
        Number of leads.
    branch : str
        The branch whose trunk it is; decides the backbone where none is named.
    backbone : str
        One of `BACKBONES`.
    width : int
        Channels of the first stage.
    bounded : bool
        Bounded receptive field, see `ResNet`.
    dropout : float
        Dropout between the third and the fourth stage.
    decimation : int
        5 for 500 Hz, see `ResNet`.
    reference_layers : bool
        Image layers of the reference, see `ResNet`.

    Raises
    ------
    UsageError
        Unknown branch or backbone.

    References
    ----------
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
    ):
        super().__init__()
        if branch not in BRANCHES:
            raise UsageError(f"protoecgnet: unknown branch '{branch}': {nearest(branch, BRANCHES)}")
        backbone = backbone or BRANCHES[branch].backbone
        self.samples, self.leads = samples, leads
        self.trunk = ResNet(backbone, leads, width, bounded, dropout, decimation, reference_layers)
        self.averaged = backbone.startswith("resnet1d")
        columns = 1 if self.averaged else self.trunk.columns(samples)
        self.head = nn.Linear(self.trunk.channels * columns, num_classes)

    def forward(self, signals: Tensor) -> Tensor:
        x = self.trunk(channels_first(signals, self.samples, self.leads, "protoecgnet_trunk"))
        return self.head(x.mean(2) if self.averaged else torch.flatten(x, 1))

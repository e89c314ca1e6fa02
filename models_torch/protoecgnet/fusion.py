"""Fusion of the three branches: one linear layer over the similarities of all their prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models_torch.protoecgnet.network import ProtoECGNet
from models_torch.protoecgnet.prototype_classifier import PrototypeClassifier
from models_torch.registry import register_model
from utils.errors import UsageError


@register_model
class ProtoECGNet_Fusion(PrototypeClassifier):
    """Branches of ProtoECGNet under one classifier; the branches are frozen.

    Takes standardised signals (B, samples, leads), returns logits (B, num_classes): ``bias`` + sum over the
    prototypes of weight x (score - centre) / spread. Centre and spread are those of each prototype's score
    over the training records, which makes the branches comparable under one penalty. In the reference a
    score reaches 1, 13 or 4, depending on the branch.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    samples : int
        Samples of a record.
    leads : int
        Number of leads.
    branches : sequence of dict
        ``model.config`` of each branch, in the order of their prototypes.

    Raises
    ------
    UsageError
        No branches, or branches that read other records.

    References
    ----------
    Sethi et al., ProtoECGNet, MLHC 2025, PMLR 298, arXiv:2504.08713.
    """

    def __init__(
        self,
        num_classes: int = 71,
        samples: int = 1000,
        leads: int = 12,
        branches: Sequence[dict[str, Any]] = (),
    ):
        super().__init__()
        if not branches:
            raise UsageError("protoecgnet_fusion: model_config must list the configs of its branches")
        networks = []
        for config in branches:
            if (config.get("samples", 1000), config.get("leads", 12)) != (samples, leads):
                raise UsageError(
                    f"protoecgnet_fusion: branch '{config.get('branch')}' reads records of another shape"
                )
            networks.append(ProtoECGNet(**{k: v for k, v in config.items() if k != "name"}))
        self.branch_models = nn.ModuleList(networks)
        self.prototypes = [len(network.prototype_vectors) for network in networks]
        total = sum(self.prototypes)
        self.register_buffer("centre", torch.zeros(total))
        self.register_buffer("spread", torch.ones(total))
        self.head = nn.Linear(total, num_classes)
        self.branch_models.requires_grad_(False)
        self.branch_models.eval()

    def train(self, mode: bool = True) -> ProtoECGNet_Fusion:
        """Switch between training and evaluation; the branches stay in evaluation.

        Parameters
        ----------
        mode : bool
            True for training.

        Returns
        -------
        ProtoECGNet_Fusion
            This module.
        """
        super().train(mode)
        self.branch_models.eval()
        return self

    def scores(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all prototypes of all branches.

        Parameters
        ----------
        signals : Tensor, shape (B, samples, leads)
            Standardised signals.

        Returns
        -------
        scores : Tensor, shape (B, P)
            Similarities, branch after branch.
        window : Tensor of int, shape (B, P)
            The best window of each prototype.
        """
        pairs = [network.scores(signals) for network in self.branch_models]
        return torch.cat([s for s, _ in pairs], dim=1), torch.cat([w for _, w in pairs], dim=1)

    def standardised(self, scores: Tensor) -> Tensor:
        """Scores in units of their spread over the training records.

        Parameters
        ----------
        scores : Tensor, shape (B, P)
            See `scores`.

        Returns
        -------
        Tensor, shape (B, P)
            Centred and scaled.
        """
        return (scores - self.centre) / self.spread

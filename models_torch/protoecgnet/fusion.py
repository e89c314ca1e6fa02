"""Fusion of the three branches: one linear layer over the similarities of all their prototypes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models_torch.layers import channels_first
from models_torch.protoecgnet.network import ProtoECGNet
from models_torch.protoecgnet.prototype_classifier import PrototypeClassifier
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo
from utils.model_registry import ModelCase


@register_model(
    title="ProtoECGNet",
    doi="10.48550/arXiv.2504.08713",
    cases=(
        ModelCase(
            {
                "samples": 160, "leads": 3, "branches": (
                    {"num_classes": 3, "samples": 160, "leads": 3, "width": 4, "proto_dim": 8,
                     "branch": "rhythm"},
                    {"num_classes": 3, "samples": 160, "leads": 3, "width": 4, "proto_dim": 8,
                     "branch": "morphology"},
                    {"num_classes": 3, "samples": 160, "leads": 3, "width": 4, "proto_dim": 8,
                     "branch": "global"},
                ),
            },
            parameters=50_978,
        ),
    ),
)  # fmt: skip
class ProtoECGNet_Fusion(PrototypeClassifier):
    """Branches of ProtoECGNet under one classifier; the branches are frozen.

    A logit is ``bias`` + sum over the prototypes of weight x (score - center) / spread. Center and spread are
    the mean and the standard deviation of each prototype's score over the training records, which makes the
    branches comparable under one penalty: in the reference a score reaches 1, 13 or 4, depending on the
    branch.

    ``branches``: ``model.config`` of each branch, in the order of their prototypes.

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
        self.samples, self.leads = samples, leads
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
        self.register_buffer("center", torch.zeros(total))
        self.register_buffer("spread", torch.ones(total))
        self.head = nn.Linear(total, num_classes)
        self.branch_models.requires_grad_(False)
        self.branch_models.eval()
        trunks = [
            info.inside(f"branch_models.{index}.trunk")
            for index, network in enumerate(networks)
            for info in network.trunk.feature_info
            if info.explained
        ]
        channels = sum(info.channels for info in trunks)
        self.feature_info: tuple[FeatureInfo, ...] = (
            *trunks,
            dataclasses.replace(trunks[0], name="", channels=channels, explained=False),
        )

    def features(self, signals: Tensor) -> Tensor:
        """Maps of all trunks, channel after channel: (B, samples, leads) -> (B, channels, columns)."""
        x = channels_first(signals, self.samples, self.leads, "protoecgnet_fusion")
        return torch.cat([network.trunk(x) for network in self.branch_models], dim=1)

    def train(self, mode: bool = True) -> ProtoECGNet_Fusion:
        """Switch between training and evaluation; the branches stay in evaluation."""
        super().train(mode)
        self.branch_models.eval()
        return self

    def scores(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity of each prototype of each branch, and its best window: (B, T, leads) -> (B, P) each."""
        pairs = [network.scores(signals) for network in self.branch_models]
        return torch.cat([s for s, _ in pairs], dim=1), torch.cat([w for _, w in pairs], dim=1)

    def window_samples(self, windows: Tensor) -> Tensor:
        """Samples that the best windows of all prototypes stand for: (B, P) -> (B, P, 2)."""
        parts = zip(self.branch_models, windows.split(self.prototypes, dim=1), strict=True)
        return torch.cat([network.window_samples(part) for network, part in parts], dim=1)

    def standardized(self, scores: Tensor) -> Tensor:
        """Scores in units of their spread over the training records: (B, P) -> (B, P)."""
        return (scores - self.center) / self.spread

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}centre" in state_dict:  # its name in version 0.1
            state_dict[f"{prefix}center"] = state_dict.pop(f"{prefix}centre")
        super()._load_from_state_dict(state_dict, prefix, *args)

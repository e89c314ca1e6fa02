"""Any registered model as the trunk of ProtoECGNet, and the choice of a trunk by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models_torch.protoecgnet.resnet import BACKBONES, ResNet
from models_torch.registry import create_model, list_models
from utils.errors import UsageError, nearest


def list_trunks() -> list[str]:
    """Names of all trunks: the ResNets of the paper, and every model without prototypes."""
    return [*BACKBONES, *(name for name in list_models() if not name.startswith("protoecgnet"))]


class ModelTrunk(nn.Module):
    """What a model computes up to its features: (B, leads, T) to (B, channels, columns).

    Modules of the model that its ``features`` do not call are left out; ``feature_info`` is the model's.
    """

    def __init__(self, name: str, samples: int, leads: int, config: Mapping[str, Any]):
        super().__init__()
        self.model = create_model(name, samples=samples, leads=leads, **config)
        self.backbone = name
        if not self.model.feature_info:
            raise UsageError(f"'{name}' has no feature map that can be trained, and cannot be a trunk")
        info = self.model.feature_info[-1]
        if info.leads != "all" or info.window or info.segments:
            raise UsageError(
                f"'{name}' cannot be a trunk: the columns of its features are not one sequence over the "
                "record in which each sees all leads"
            )
        self._columns = self._probe(samples, leads)
        self.channels, self.stride = info.channels, info.stride
        self.first_middle = round(float(info.middles(1)[0][0]))
        self.feature_info = tuple(one.inside("model") for one in self.model.feature_info[:-1])
        self.feature_info += (dataclasses.replace(info, name=""),)

    def _probe(self, samples: int, leads: int) -> int:
        """Number of columns; removes what the features do not need."""
        called: set[str] = set()
        hooks = [
            part.register_forward_hook(lambda _m, _x, _y, top=top: called.add(top))
            for top, child in self.model.named_children()
            for part in child.modules()
        ]
        training = self.model.training
        device = next(self.model.parameters()).device
        with torch.no_grad():
            columns = self.model.eval().features(torch.zeros(1, samples, leads, device=device)).shape[-1]
        self.model.train(training)
        for hook in hooks:
            hook.remove()
        for top, _ in list(self.model.named_children()):
            if top not in called:
                setattr(self.model, top, nn.Identity())
        return columns

    def columns(self, samples: int) -> int:
        """Columns of the feature map of a signal of the length that the trunk was built for."""
        return self._columns

    def forward(self, x: Tensor) -> Tensor:
        maps = self.model.features(x.transpose(1, 2))
        return maps.flatten(2) if maps.ndim == 4 else maps


def make_trunk(
    backbone: str, samples: int, config: Mapping[str, Any] | None, leads: int, *resnet: Any
) -> ResNet | ModelTrunk:
    """Build a trunk by name; ``config`` is for a registered model, ``resnet`` further sizes of a `ResNet`."""
    if backbone in BACKBONES:
        if config:
            raise UsageError(f"backbone_config is for registered models, not for '{backbone}'")
        return ResNet(backbone, leads, *resnet)
    if backbone not in list_trunks():
        raise UsageError(f"unknown backbone '{backbone}': {nearest(backbone, list_trunks())}")
    options = list(inspect.signature(ResNet).parameters.values())[2:]
    changed = [o.name for o, value in zip(options, resnet, strict=True) if value != o.default]
    if changed:
        raise UsageError(
            f"{', '.join(changed)}: belong to the trunks {', '.join(BACKBONES[:2])} ...; options of "
            f"'{backbone}' are given by backbone_config"
        )
    return ModelTrunk(backbone, samples, leads, config or {})

"""Backbones: from signals to a map of features; one family a file, which registers itself."""

from models_torch.backbones import multi_scopic as _multi_scopic  # noqa: F401  (families register themselves)
from models_torch.backbones import resnet as _resnet  # noqa: F401
from models_torch.backbones.base import (
    Backbone,
    backbone_config,
    create_backbone,
    list_backbones,
    register_backbone,
)
from models_torch.backbones.configs import adjust_cnn_filter_lengths

__all__ = [
    "Backbone",
    "adjust_cnn_filter_lengths",
    "backbone_config",
    "create_backbone",
    "list_backbones",
    "register_backbone",
]

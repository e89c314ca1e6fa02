"""Backbones: from signals to a map of features; one family a file, which registers itself."""

from models_torch.backbones import darknet as _darknet  # noqa: F401  (the families register themselves)
from models_torch.backbones import densenet as _densenet  # noqa: F401
from models_torch.backbones import efficientnet as _efficientnet  # noqa: F401
from models_torch.backbones import hardnet as _hardnet  # noqa: F401
from models_torch.backbones import ho_resnet as _ho_resnet  # noqa: F401
from models_torch.backbones import mobilenet as _mobilenet  # noqa: F401
from models_torch.backbones import multi_scopic as _multi_scopic  # noqa: F401
from models_torch.backbones import regnet as _regnet  # noqa: F401
from models_torch.backbones import resnet as _resnet  # noqa: F401
from models_torch.backbones import vgg as _vgg  # noqa: F401
from models_torch.backbones import xception as _xception  # noqa: F401
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

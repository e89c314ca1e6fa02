"""PyTorch models: signals (B, T, leads) in, logits out."""

from models_torch import ecgnet as _ecgnet  # noqa: F401  (the models register themselves)
from models_torch import protoecgnet as _protoecgnet  # noqa: F401
from models_torch import resnet18 as _resnet18  # noqa: F401
from models_torch import resnet101 as _resnet101  # noqa: F401
from models_torch.registry import create_model, list_models, model_options, register_model

__all__ = ["create_model", "list_models", "model_options", "register_model"]

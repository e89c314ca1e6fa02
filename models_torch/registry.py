"""The registry of PyTorch models; see `utils.model_registry.ModelRegistry` for its functions."""

from pathlib import Path

from utils.model_registry import ModelRegistry

_REGISTRY = ModelRegistry("torch", "PyTorch", "models_torch", Path(__file__).parent)

register_model = _REGISTRY.register_model
list_models = _REGISTRY.list_models
model_info = _REGISTRY.model_info
model_options = _REGISTRY.model_options
create_model = _REGISTRY.create_model

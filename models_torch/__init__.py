"""PyTorch models: signals (B, T, leads) in, logits out; one architecture a file, which registers itself."""

from models_torch.registry import create_model, list_models, model_info, model_options, register_model

__all__ = ["create_model", "list_models", "model_info", "model_options", "register_model"]

"""Trained models for other programs: ONNX files, folders for the Hugging Face hub, model cards."""

from training.export.hub import model_card
from training.export.write import export_onnx

__all__ = ["export_onnx", "model_card"]

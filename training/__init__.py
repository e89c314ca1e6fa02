"""The two training loops and everything around them: run folders, resume, checkpoints, predictor."""

from training.predictor import Predictor, load_predictor

__all__ = ["Predictor", "load_predictor"]

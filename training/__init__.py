"""The two training loops and everything around them: run folders, resume, checkpoints, predictor."""

from training.predictor import Predictor, load_predictor
from utils.renamed import install as _install

__all__ = ["Predictor", "load_predictor"]

_install()

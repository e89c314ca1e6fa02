"""A model in tables: its name in print and its published scores."""

from __future__ import annotations

from training.model_info import model_info
from utils.errors import UsageError
from utils.model_registry import ModelInfo

# Reddy et al., IMLE-Net, IEEE SMC 2021, pp. 1068-1074, trained and tested on the folds of the whole PTB-XL.
SOURCE = "10.1109/SMC52423.2021.9658706"
PUBLISHED_RECORDS, PUBLISHED_TRAINING = 21837, 17090  # PTB-XL 1.0.1 and 1.0.2


def _info(model: str) -> ModelInfo | None:
    """Properties of a model; None for one that is not registered here, such as a plugin's."""
    try:
        return model_info(model)
    except UsageError:
        return None


def title(model: str) -> str:
    """Name of a model in tables; the registered name where nothing better is known."""
    info = _info(model)
    return info.title if info else model


def published(model: str, task: str) -> dict[str, float]:
    """Scores that the paper of a model reports for a task; empty where there are none."""
    info = _info(model)
    return next((dict(entry.scores) for entry in info.published if entry.task == task), {}) if info else {}


def order(model: str) -> tuple[float, str]:
    """Sort key: the highest published score first, unknown models last."""
    return -published(model, "superdiagnostic").get("macro_roc_auc", 0.0), model

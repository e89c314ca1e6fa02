"""A model in tables: its name in print and its published scores."""

from __future__ import annotations

from training.model_info import model_info
from utils.errors import UsageError
from utils.model_registry import ModelInfo, Published

# Reddy et al., IMLE-Net, IEEE SMC 2021, pp. 1068-1074, trained and tested on the folds of the whole PTB-XL.
SOURCE = "10.1109/SMC52423.2021.9658706"
# Studies on the folds of the whole PTB-XL, as pages call them.
STUDIES = {
    SOURCE: "the IMLE-Net study",
    "10.1109/JBHI.2020.3022989": "the PTB-XL benchmark",
    "10.48550/arXiv.2509.25095": "a benchmark of foundation models",
}
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


def _published(model: str, task: str) -> Published | None:
    info = _info(model)
    return next((entry for entry in info.published if entry.task == task), None) if info else None


def published(model: str, task: str) -> dict[str, float]:
    """Scores that a paper reports for a model and a task; empty where there are none."""
    entry = _published(model, task)
    return dict(entry.scores) if entry else {}


def source(model: str, task: str) -> str:
    """DOI of the published scores; empty where there are none."""
    entry = _published(model, task)
    return entry.source if entry else ""


def order(model: str) -> tuple[float, str]:
    """Sort key: the highest published score first, unknown models last."""
    return -published(model, "superdiagnostic").get("macro_roc_auc", 0.0), model

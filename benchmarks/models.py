"""What tables say of a model: its name in print and its published scores."""

from __future__ import annotations

# Reddy et al., IMLE-Net, IEEE SMC 2021, pp. 1068-1074, trained and tested on the folds of the whole PTB-XL.
SOURCE = "10.1109/SMC52423.2021.9658706"
PUBLISHED_RECORDS, PUBLISHED_TRAINING = 21837, 17090  # PTB-XL 1.0.1 and 1.0.2
_TITLES = {
    "imle_net": "IMLE-Net",
    "rajpurkar": "Rajpurkar",
    "ecgnet": "ECGNet",
    "resnet101": "ResNet101",
    "mousavi": "Mousavi",
    "resnet18": "ResNet-18",
}
_PUBLISHED = {
    "imle_net": {"macro_roc_auc": 0.9216, "mean_accuracy_percent": 88.85, "max_f1": 0.8057},
    "rajpurkar": {"macro_roc_auc": 0.9155, "mean_accuracy_percent": 87.91, "max_f1": 0.7895},
    "ecgnet": {"macro_roc_auc": 0.9101, "mean_accuracy_percent": 87.35, "max_f1": 0.7712},
    "resnet101": {"macro_roc_auc": 0.8952, "mean_accuracy_percent": 86.78, "max_f1": 0.7558},
    "mousavi": {"macro_roc_auc": 0.8654, "mean_accuracy_percent": 84.19, "max_f1": 0.7315},
}


def title(model: str) -> str:
    """Name of a model in tables; the registered name where nothing better is known."""
    return _TITLES.get(model, model)


def published(model: str, task: str) -> dict[str, float]:
    """Scores that the paper of a model reports for a task; empty where there are none."""
    return _PUBLISHED.get(model, {}) if task == "superdiagnostic" else {}


def order(model: str) -> tuple[float, str]:
    """Sort key: the highest published score first, unknown models last."""
    return -published(model, "superdiagnostic").get("macro_roc_auc", 0.0), model

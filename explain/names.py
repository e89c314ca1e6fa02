"""Names: attribution methods and metrics as people read them, and which way a metric is better."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from utils.errors import DataError, nearest

SIGNS = ("signed", "absolute")
FAMILIES = ("localization", "perturbation", "sanity")
RANDOM = "random_baseline"  # a row of every table, but nothing that competes
TITLES = {
    "saliency": "Saliency",
    "input_gradient": "Input × gradient",
    "guided_backprop": "Guided backprop",
    "integrated_gradients": "Integrated gradients",
    "deep_lift": "DeepLIFT",
    "deep_shap": "DeepSHAP",
    "lrp": "LRP",
    "lime": "LIME",
    "kernel_shap": "KernelSHAP",
    "gradcam": "Grad-CAM",
    "guided_gradcam": "Guided Grad-CAM",
    "attention": "Attention",
    "prototypes": "Prototypes",
    RANDOM: "Random baseline",
}


@dataclass(frozen=True)
class Metric:
    """What a number means.

    ``name``: as in the files.
    ``higher_is_better``: the direction; None where neither is better.
    ``toward_zero``: scores have either sign and the one nearest to 0 is best.
    """

    name: str
    title: str
    family: str
    higher_is_better: bool | None = True
    toward_zero: bool = False

    def goodness(self, means: np.ndarray) -> np.ndarray:
        """Turn scores so that more is better."""
        if self.toward_zero:
            return -np.abs(means)
        return means if self.higher_is_better else -means

    @property
    def header(self) -> str:
        """Title with ``↑`` where higher is better, ``↓`` where lower is, ``→ 0`` where nothing is."""
        if self.toward_zero:
            return f"{self.title} → 0"
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return self.title + arrow


METRICS = {
    metric.name: metric
    for metric in (
        Metric("attribution_localization", "attribution localization", "localization"),
        Metric("relevance_mass_accuracy", "relevance mass accuracy", "localization"),
        Metric("auc", "AUC", "localization"),
        Metric("pointing_game", "pointing game", "localization"),
        Metric("relevance_rank_accuracy", "relevance rank accuracy", "localization"),
        Metric("top_k_intersection", "top-k intersection", "localization"),
        Metric("region_perturbation_morf", "region perturbation MoRF", "perturbation"),
        Metric("region_perturbation_lerf", "region perturbation LeRF", "perturbation", False),
        Metric("faithfulness_correlation", "faithfulness correlation", "perturbation"),
        Metric("deletion", "deletion", "perturbation", False),
        Metric("insertion", "insertion", "perturbation"),
        Metric("seed_stability", "seed stability", "sanity"),
        Metric("seed_stability_pearson", "seed stability (Pearson)", "sanity"),
        Metric("model_stability", "model stability", "sanity"),
        Metric("completeness_error", "completeness error", "sanity", False),
        Metric("sparseness_gini", "sparseness (Gini)", "sanity", None),
    )
}
_RANDOMIZATION = "randomization_"


def metric(name: str) -> Metric:
    """Look a metric up."""
    if name.startswith(_RANDOMIZATION) and len(name) > len(_RANDOMIZATION):
        layer = name.removeprefix(_RANDOMIZATION)
        title = (
            f"random {layer.replace('only_', 'only ', 1)}"
            if layer.startswith("only_")
            else f"random to {layer}"
        )
        return Metric(name, title, "sanity", False, toward_zero=True)
    if name not in METRICS:
        raise DataError(f"unknown metric '{name}': {nearest(name, [*METRICS, f'{_RANDOMIZATION}<layer>'])}")
    return METRICS[name]


def method_title(method: str) -> str:
    """Name of a method in tables; a method from elsewhere is asked for it where it is registered."""
    registry = sys.modules.get("explain.methods.registry")
    if method in TITLES or registry is None or method not in registry.METHODS:
        return TITLES.get(method, method)
    return registry.METHODS.get(method).title


def row_title(method: str, sign: str) -> str:
    """Name a row of a table."""
    return method_title(method) + (" (abs)" if sign == "absolute" else "")

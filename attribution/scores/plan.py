"""What is scored, and how: metrics, signs and ground truths with the settings that affect each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from attribution.metrics import localization
from attribution.metrics.perturbation import METRICS, SIGNS, PerturbationSettings
from utils.errors import UsageError, nearest

LOCALIZATION: dict[str, Callable[..., np.ndarray]] = {
    "attribution_localization": localization.attribution_localization,
    "relevance_mass_accuracy": localization.relevance_mass_accuracy,
    "auc": localization.auc,
    "pointing_game": localization.pointing_game,
    "relevance_rank_accuracy": localization.relevance_rank_accuracy,
    "top_k_intersection": localization.top_k_intersection,
}
ALL_METRICS = (*LOCALIZATION, *METRICS)
_CURVES = ("patch_ms", "patch_samples", "tolerance")
_AFFECTS = {  # the settings that change a score, beside fill, seed and reference
    "region_perturbation_morf": ("coverage", "regions", *_CURVES),
    "region_perturbation_lerf": ("coverage", "regions", *_CURVES),
    "faithfulness_correlation": ("subset_ratio", "runs"),
    "deletion": ("random_orders", *_CURVES),
    "insertion": ("random_orders", *_CURVES),
}


def resolve_metrics(names: Sequence[str], orders: Sequence[str] = ("morf", "lerf")) -> list[str]:
    """Names of metrics, from those of metrics and groups."""
    region = [f"region_perturbation_{order}" for order in orders]
    perturbation = [m for m in METRICS if not m.startswith("region_perturbation") or m in region]
    groups = {
        "all": [*LOCALIZATION, *perturbation],
        "localization": list(LOCALIZATION),
        "perturbation": perturbation,
        "region_perturbation": region,
    }
    selected: set[str] = set()
    for name in names:
        if name not in groups and name not in ALL_METRICS:
            raise UsageError(f"unknown metric '{name}': {nearest(name, [*groups, *ALL_METRICS])}")
        selected.update(groups.get(name, [name]))
    return [metric for metric in ALL_METRICS if metric in selected]


class Cell(NamedTuple):
    """One column of scores.

    ``ground_truth``: what a localization metric compares with; empty for the others.
    """

    sign: str
    metric: str
    ground_truth: str


@dataclass(frozen=True)
class ScorePlan:
    """What is scored, and how.

    ``signs``: ``signed``, ``absolute`` or both.
    ``ground_truths``: names of ground truths of the windows.
    ``top_k``: k of top_k_intersection; 0 takes the fraction.
    ``top_fraction``: k as a fraction of the mask.
    ``perturbation``: how the input is perturbed.
    """

    metrics: Sequence[str]
    signs: Sequence[str] = SIGNS
    ground_truths: Sequence[str] = ()
    ties: str = "expected"
    top_k: int = 0
    top_fraction: float = localization.TOP_FRACTION
    perturbation: PerturbationSettings = field(default_factory=PerturbationSettings)

    @classmethod
    def published(cls, metrics: Sequence[str], **changes: Any) -> ScorePlan:
        """The published study's way with ties, its k, its patches and its random numbers."""
        preset = {
            "ties": "reference",
            "top_k": localization.REFERENCE_TOP_K,
            "perturbation": PerturbationSettings.published(),
        }
        return cls(metrics, **{**preset, **changes})

    def cells(self) -> list[Cell]:
        return [
            Cell(sign, metric, ground_truth)
            for metric in self.metrics
            for ground_truth in (self.ground_truths if metric in LOCALIZATION else [""])
            for sign in self.signs
        ]

    def how(self, metric: str) -> dict[str, Any]:
        """Settings that change the scores of a metric."""
        if metric not in LOCALIZATION:
            values = asdict(self.perturbation)
            return {name: values[name] for name in (*_AFFECTS[metric], "fill", "seed", "reference")}
        if metric == "top_k_intersection":
            return {"ties": self.ties, "k": self.top_k, "fraction": self.top_fraction}
        return {"ties": self.ties}

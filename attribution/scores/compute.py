"""The scores of one method's maps: against the ground truth, and by perturbing the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attribution.engine.store import Arrays, ResumableTable
from attribution.engine.workspace import Workspace
from attribution.metrics import localization
from attribution.metrics.perturbation import (
    METRICS,
    SIGNS,
    Controls,
    PerturbationSettings,
    measure_controls,
    perturbation_scores,
)
from attribution.metrics.perturbed_inputs import PerturbedInputs
from preprocessing.targets.regions import ground_truth_mask
from utils.errors import UsageError, nearest
from utils.files import sha256

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


_CHUNK = 16  # windows whose curves share forward passes
# what is measured without maps, and for which metrics
_CONTROLS = {"subsets": ("faithfulness_correlation",), "random_orders": ("deletion", "insertion")}


@dataclass
class Scores:
    """Scores of one method.

    ``columns`` (n,): NaN where a window has no score.
    ``undefined``: how many windows have no score, by reason.
    """

    columns: dict[Cell, np.ndarray] = field(default_factory=dict)
    undefined: dict[Cell, dict[str, int]] = field(default_factory=dict)

    def add(self, cell: Cell, scores: np.ndarray, reasons: np.ndarray) -> None:
        """Add a column and count what is missing in it; scores (n,), reasons (n,)."""
        self.columns[cell] = scores
        missing = Counter(reasons[np.isnan(scores)].tolist())
        if missing:
            self.undefined[cell] = dict(sorted(missing.items()))


def add_localization(
    scores: Scores, workspace: Workspace, maps: np.ndarray, plan: ScorePlan, cells: Sequence[Cell]
) -> None:
    """Score maps against the ground truths of the windows; maps (n, T, leads)."""
    for ground_truth in dict.fromkeys(cell.ground_truth for cell in cells if cell.metric in LOCALIZATION):
        pairs = zip(workspace.rows.tolist(), workspace.targets.tolist(), strict=True)
        masks = np.stack(
            [ground_truth_mask(workspace.windows, row, target, ground_truth) for row, target in pairs]
        )
        reasons = localization.undefined(maps, masks)
        reasons = np.where(reasons == "", "no positive value", reasons)
        for cell in cells:
            if cell.metric not in LOCALIZATION or cell.ground_truth != ground_truth:
                continue
            options: dict[str, Any] = {}
            if cell.metric == "top_k_intersection":
                options = {"k": plan.top_k, "fraction": plan.top_fraction}
            values = LOCALIZATION[cell.metric](maps, masks, cell.sign == "absolute", plan.ties, **options)
            scores.add(cell, values, reasons)


class PerturbationScorer:
    """Scores maps by perturbing the windows of a workspace; unfinished work is kept in `folder`."""

    def __init__(
        self, workspace: Workspace, settings: PerturbationSettings, folder: Path, overwrite: bool = False
    ):
        self.workspace, self.settings = workspace, settings
        self.folder, self.overwrite = folder, overwrite

    def _table(self, name: str, metrics: Sequence[str], **source: Any) -> ResumableTable:
        how = {m: ScorePlan([m], perturbation=self.settings).how(m) for m in metrics}
        source = {**self.workspace.identity(), "metrics": sorted(metrics), **source}
        return ResumableTable(self.folder / f"{name}.table", source, how, self.overwrite)

    def _windows(self, part: slice) -> PerturbedInputs:
        rows = self.workspace.rows[part]
        x, targets = self.workspace.signals(rows), self.workspace.targets[part]
        return PerturbedInputs(self.workspace.model, x, targets, self.settings, rows, part.start)

    def controls(self, metrics: Sequence[str]) -> Controls:
        """Measure what does not depend on maps, or read what was measured before."""
        count = len(self.workspace.rows)
        columns: Arrays = {"losses": np.empty((count, 0)), "random_area": np.full(count, np.nan)}
        needed = [name for name, users in _CONTROLS.items() if set(users) & set(metrics)]
        for name in needed or ["whole"]:
            users = _CONTROLS.get(name, ())

            def measure(part: slice, users: Sequence[str] = users) -> Arrays:
                return vars(measure_controls(self._windows(part), users))

            bar = {"desc": "without maps", "unit": "window", "leave": False}
            measured = self._table(f"controls_{name}", users).rows(count, _CHUNK, measure, **bar)
            columns["probability"] = measured["probability"]
            key = {"subsets": "losses", "random_orders": "random_area"}.get(name)
            columns |= {key: measured[key]} if key else {}
        return Controls(**columns)

    def add(
        self, scores: Scores, method: str, maps: np.ndarray, cells: Sequence[Cell], controls: Controls
    ) -> None:
        """Score one method's maps; maps (n, T, leads)."""
        cells = [cell for cell in cells if cell.metric not in LOCALIZATION]
        metrics = list(dict.fromkeys(cell.metric for cell in cells))
        signs = [sign for sign in SIGNS if any(cell.sign == sign for cell in cells)]

        def score(part: slice) -> Arrays:
            known = Controls(*(values[part] for values in vars(controls).values()))
            part_scores = perturbation_scores(self._windows(part), maps[part], known, metrics, signs)
            return {f"{sign} {metric}": values for (sign, metric), values in part_scores.items()}

        digest = sha256(self.workspace.map_file(method))
        table = self._table(method, metrics, maps=digest, signs=signs)
        columns = table.rows(len(maps), _CHUNK, score, desc=method, unit="window", leave=False)
        reasons = np.full(len(maps), "nothing varies", dtype="U17")
        reasons[~maps.any(axis=(1, 2))] = "zero map"
        reasons[~np.isfinite(maps).all(axis=(1, 2))] = "non-finite map"
        for cell in cells:
            scores.add(cell, columns[f"{cell.sign} {cell.metric}"], reasons)

    def forget(self, method: str) -> None:
        """Remove the unfinished work of a method that is finished."""
        (self.folder / f"{method}.table").unlink(missing_ok=True)

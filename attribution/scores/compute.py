"""The scores of one method's maps: against the ground truth, and by perturbing the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attribution.engine.store import Arrays, ResumableTable
from attribution.engine.workspace import Workspace
from attribution.metrics import localization
from attribution.metrics.perturbation import (
    SIGNS,
    Controls,
    PerturbationSettings,
    measure_controls,
    perturbation_scores,
)
from attribution.scores.plan import LOCALIZATION, Cell, ScorePlan
from utils.files import sha256

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
        masks = np.stack([workspace.windows.mask(row, target, ground_truth) for row, target in pairs])
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

    def _windows(self, part: slice) -> dict[str, Any]:
        rows = self.workspace.rows[part]
        return {
            "x": self.workspace.signals(rows),
            "targets": self.workspace.targets[part],
            "settings": self.settings,
            "seeds": rows,
            "skip": part.start,
        }

    def controls(self, metrics: Sequence[str]) -> Controls:
        """Measure what does not depend on maps, or read what was measured before."""
        count, model = len(self.workspace.rows), self.workspace.model
        columns: Arrays = {"losses": np.empty((count, 0)), "random_area": np.full(count, np.nan)}
        needed = [name for name, users in _CONTROLS.items() if set(users) & set(metrics)]
        for name in needed or ["whole"]:
            users = _CONTROLS.get(name, ())

            def measure(part: slice, users: Sequence[str] = users) -> Arrays:
                return vars(measure_controls(model, metrics=users, **self._windows(part)))

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
            part_scores = perturbation_scores(
                self.workspace.model,
                maps={"": maps[part]},
                metrics=metrics,
                signs=signs,
                controls=known,
                **self._windows(part),
            )
            return {f"{sign} {metric}": values for (_, sign, metric), values in part_scores.items()}

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

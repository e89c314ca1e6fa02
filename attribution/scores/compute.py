"""The scores of one method's maps: against the truth, and window by window by disturbing the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attribution.engine.journal import Journal
from attribution.metrics import localisation
from attribution.metrics.perturbation import (
    SIGNS,
    Controls,
    PerturbationSettings,
    measure_controls,
    perturbation_scores,
)
from attribution.scores.plan import LOCALISATION, Cell, ScorePlan
from utils.files import sha256

if TYPE_CHECKING:
    from attribution.engine.results import ComputeResult
    from explain.engine.classifier import Classifier

_CHUNK = 16  # windows whose curves are asked in common forward passes
# what is measured without maps, and for which metric
_CONTROLS = {
    "subsets": ("faithfulness_correlation",),
    "random_orders": ("deletion", "insertion"),
    "whole": (),
}


@dataclass
class Scores:
    """Scores of one method.

    ``columns`` (n,): naN where a window has no score.
    ``undefined``: how many windows have no score, by reason.
    """

    columns: dict[Cell, np.ndarray]
    undefined: dict[Cell, dict[str, int]]

    def add(self, cell: Cell, scores: np.ndarray, reasons: np.ndarray) -> None:
        """Take in a column and count what is missing in it.

        Shapes: scores (n,), reasons (n,).
        """
        self.columns[cell] = scores
        missing = Counter(reasons[np.isnan(scores)].tolist())
        if missing:
            self.undefined[cell] = dict(sorted(missing.items()))


def localisation_columns(
    result: ComputeResult, maps: np.ndarray, plan: ScorePlan, cells: Sequence[Cell]
) -> Scores:
    """Score maps against the windows' truths.

    Shapes: maps (n, T, leads).
    """
    scores = Scores({}, {})
    for truth in dict.fromkeys(cell.truth for cell in cells if cell.metric in LOCALISATION):
        pairs = zip(result.rows.tolist(), result.targets.tolist(), strict=True)
        masks = np.stack([result.windows.mask(row, target, truth) for row, target in pairs])
        reasons = localisation.undefined(maps, masks)
        reasons = np.where(reasons == "", "no positive value", reasons)
        for cell in cells:
            if cell.metric not in LOCALISATION or cell.truth != truth:
                continue
            options: dict[str, Any] = {}
            if cell.metric == "top_k_intersection":
                options = {"k": plan.top_k, "fraction": plan.top_fraction}
            found = LOCALISATION[cell.metric](maps, masks, cell.sign == "absolute", plan.ties, **options)
            scores.add(cell, found, reasons)
    return scores


@dataclass
class Subject:
    """The windows that are disturbed.

    ``result``: gives windows, rows and targets.
    ``folder``: of the unfinished work.
    """

    classifier: Classifier
    result: ComputeResult
    settings: PerturbationSettings
    folder: Path

    def _fill(self, journal: Journal, score: Callable[[slice, dict[str, Any]], dict], progress: Any) -> None:
        count = len(self.result.rows)
        bar = progress(total=count, initial=journal.done)
        try:
            while journal.done < count:
                part = slice(journal.done, min(journal.done + _CHUNK, count))
                rows = self.result.rows[part]
                shared = {
                    "x": self.classifier.standardize(self.result.windows.signals[rows]),
                    "targets": self.result.targets[part],
                    "settings": self.settings,
                    "keys": rows,
                    "skip": part.start,
                }
                journal.add(part.stop, score(part, shared))
                bar.update(part.stop - part.start)
        finally:
            bar.close()
            journal.save()

    def controls(self, metrics: Sequence[str], progress: Callable[..., Any]) -> Controls:
        """Measure what does not depend on maps, or read what was measured before."""
        count = len(self.result.rows)
        found = {
            "probability": np.empty(count),
            "losses": np.empty((count, 0)),
            "random_area": np.empty(count),
        }
        needed = [name for name, serves in _CONTROLS.items() if set(serves) & set(metrics)]
        for name in needed or ["whole"]:
            serves = _CONTROLS[name]
            how = [ScorePlan([metric], perturbation=self.settings).how(metric) for metric in serves]
            arrays = {"probability": np.full(count, np.nan)}
            if name == "subsets":
                arrays["losses"] = np.full((count, self.settings.runs), np.nan)
            if name == "random_orders":
                arrays["random_area"] = np.full(count, np.nan)
            journal = Journal(self.folder / f"controls_{name}.npz", {**self._state(), "how": how}, arrays)
            measure = partial(measure_controls, self.classifier, metrics=serves)
            self._fill(journal, lambda _, shared, measure=measure: vars(measure(**shared)), progress)
            found |= arrays
        return Controls(**found)

    def columns(
        self,
        method: str,
        maps: np.ndarray,
        cells: Sequence[Cell],
        controls: Controls,
        progress: Callable[..., Any],
    ) -> Scores:
        """Score one method's maps by disturbing the input.

        Shapes: maps (n, T, leads).
        """
        cells = [cell for cell in cells if cell.metric not in LOCALISATION]
        metrics = list(dict.fromkeys(cell.metric for cell in cells))
        signs = [sign for sign in SIGNS if any(cell.sign == sign for cell in cells)]
        plan = ScorePlan(metrics, signs, perturbation=self.settings)
        state = {**self._state(), "maps": sha256(self.result.map_file(method)), "signs": signs}
        state["how"] = {metric: plan.how(metric) for metric in metrics}
        arrays = {f"{sign} {metric}": np.full(len(maps), np.nan) for sign in signs for metric in metrics}
        journal = Journal(self.folder / f"{method}.part.npz", state, arrays)

        def score(part: slice, shared: dict[str, Any]) -> dict[str, np.ndarray]:
            known = Controls(*(getattr(controls, name)[part] for name in vars(controls)))
            found = perturbation_scores(
                self.classifier, maps={"": maps[part]}, metrics=metrics, signs=signs, controls=known, **shared
            )
            return {f"{sign} {metric}": values for (_, sign, metric), values in found.items()}

        self._fill(journal, score, progress)
        reasons = np.full(len(maps), "nothing varies", dtype="U17")
        reasons[~maps.any(axis=(1, 2))] = "zero map"
        reasons[~np.isfinite(maps).all(axis=(1, 2))] = "non-finite map"
        scores = Scores({}, {})
        for cell in cells:
            scores.add(cell, arrays[f"{cell.sign} {cell.metric}"], reasons)
        return scores

    def forget(self, method: str) -> None:
        """Remove the unfinished work of a method that is finished."""
        (self.folder / f"{method}.part.npz").unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        result = self.result
        return {
            "windows": result.windows.fingerprint,
            "model": result.args["model_fingerprint"],
            "rows": result.rows.tolist(),
            "targets": result.targets.tolist(),
        }

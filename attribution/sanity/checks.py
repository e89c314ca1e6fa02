"""Sanity checks: maps must depend on the weights, be reproducible and sum to what their method promises.

Models that differ only in the seed of their training are compared with each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from attribution.engine.store import Arrays
from attribution.engine.workspace import Workspace
from attribution.metrics.agreement import correlation
from attribution.sanity.randomization import Group, randomized
from attribution.scores.files import Column, score_lines
from explain.engine.classifier import Classifier
from explain.engine.fast import speed_up
from explain.methods import Settings, completeness, explain, get_method
from utils.errors import DataError, TwelveLeadError
from utils.tables import write_csv

# Mean similarity over the cascade, from the head at random to all weights at random: the early steps count,
# where the evidence for a class is gone already, and the late ones, where nothing is left of the model.
IGNORES_WEIGHTS, KEEPS_ORDER = 0.9, 0.5


def score_file(folder: Path, method: str) -> Path:
    """Path of a method's scores."""
    return folder / "scores" / f"sanity_{method}.csv"


def cascade_similarity(scores: pd.DataFrame) -> float:
    """Mean similarity of a method's absolute maps to those of the model with more and more random weights."""
    of_cascade = scores["metric"].str.startswith("randomization_") & ~scores["metric"].str.contains("_only_")
    return float(scores[of_cascade & (scores["sign"] == "absolute")]["score"].fillna(0).mean())


def flag(similarity: float) -> str:
    """A warning where maps hardly follow the weights, else an empty text."""
    if not similarity >= KEEPS_ORDER:
        return ""
    finding = "its maps show the signal more than what the model has learned"
    if similarity >= IGNORES_WEIGHTS:
        finding = "its maps do not depend on what the model has learned"
    return f"similarity {similarity:.2f} over the cascade of random weights: {finding}"


Progress = Callable[[Iterable], Iterable]
Keep = Callable[[str, Callable[[], Arrays]], Arrays]  # gives an item under its name, made where it is missing
_REPRODUCED = 0.99  # rank correlation of maps that are equal except for rounding


def _make(_name: str, make: Callable[[], Arrays]) -> Arrays:
    return make()


@dataclass(frozen=True, eq=False)
class Subject:
    """A method's maps of some windows, with everything to make them again.

    ``method``: name of the method.
    ``x`` (n, T, leads): standardized windows.
    ``targets`` (n,): class that each map explains.
    ``settings``: those the maps were made with, including their seeds.
    ``maps`` (n, T, leads): the maps.
    """

    classifier: Classifier
    method: str
    x: np.ndarray
    targets: np.ndarray
    settings: Settings
    maps: np.ndarray

    def explain(
        self, classifier: Classifier | None = None, rows: slice = slice(None), **changes
    ) -> np.ndarray:
        """Make the maps again, (n, T, leads)."""
        settings = replace(self.settings, seeds=np.asarray(self.settings.seeds)[rows], **changes)
        return explain(classifier or self.classifier, self.method, self.x[rows], self.targets[rows], settings)


def check_reproducible(subject: Subject) -> None:
    """Make the map of the first window again: all checks compare with the stored maps."""
    again, stored = subject.explain(rows=slice(1)), subject.maps[:1]
    similarity = correlation(again, stored)[0]
    if not (similarity > _REPRODUCED or np.allclose(again, stored, rtol=1e-3, atol=1e-6)):
        row = np.asarray(subject.settings.seeds)[0]
        raise DataError(
            f"the stored {subject.method} map of window {row} is not what the model gives now "
            f"(rank correlation {similarity:.3f}): the model or the settings have changed; run "
            "attribution.compute again with --overwrite"
        )


def randomization_columns(
    subject: Subject,
    groups: Sequence[Group],
    seed: int = 0,
    independent: bool = False,
    progress: Progress = iter,
    keep: Keep = _make,
) -> list[Column]:
    """Similarity of the trained model's maps with those of the model with randomized weights.

    Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292.
    """
    states = [(group.name, groups[: depth + 1]) for depth, group in enumerate(groups)]
    if independent:  # the head alone is the first step of the cascade
        states += [(f"only_{group.name}", [group]) for group in groups[1:]]
    classifier = copy.copy(subject.classifier)
    classifier.fast = classifier.module  # a fast copy holds other weights
    many_passes = "n_samples" in get_method(subject.method).uses

    def similarity(changed: Sequence[Group]) -> Arrays:
        with randomized(changed, seed):
            if many_passes:
                speed_up(classifier)
            try:
                maps = subject.explain(classifier)
            except TwelveLeadError:  # because of the weights: the trained model could be explained
                maps = np.zeros_like(subject.maps)
        return {
            "absolute": correlation(np.abs(subject.maps), np.abs(maps)),
            "signed": correlation(subject.maps, maps),
        }

    columns = []
    for name, changed in progress(states):
        metric = f"randomization_{name}"
        scores = keep(metric, partial(similarity, changed))
        columns += [Column(metric, sign, scores[sign]) for sign in ("absolute", "signed")]
    return columns


def seed_columns(
    subject: Subject, seeds: int = 2, progress: Progress = iter, keep: Keep = _make
) -> list[Column]:
    """Agreement of the maps that a method gives with other random numbers."""
    if "seed" not in get_method(subject.method).uses:
        return []
    first = subject.settings.seed
    maps = [subject.maps]

    def explain_again(seed: int) -> Arrays:
        return {"maps": subject.explain(seed=seed)}

    for seed in progress(range(first + 1, first + 1 + seeds)):
        maps.append(keep(f"seed {seed}", partial(explain_again, seed))["maps"])
    columns = []
    for metric, ranks in (("seed_stability", True), ("seed_stability_pearson", False)):
        for sign, of in (("absolute", np.abs), ("signed", np.asarray)):
            pairs = [correlation(of(a), of(b), ranks) for a, b in combinations(maps, 2)]
            columns.append(Column(metric, sign, np.mean(pairs, axis=0)))
    return columns


def completeness_columns(subject: Subject) -> list[Column]:
    """Relative error of a map's sum, see `explain.methods.Completeness`; none where no sum is promised."""
    result = completeness(
        subject.classifier, subject.method, subject.x, subject.targets, subject.maps, subject.settings
    )
    return [Column("completeness_error", "signed", result.errors)] if result else []


def models_file(folder: Path, method: str) -> Path:
    """Path of the scores of `compare_models`."""
    return folder / "scores" / f"sanity_models_{method}.csv"


def compare_models(workspaces: Sequence[Workspace], methods: Sequence[str]) -> list[Path]:
    """Write how similar the maps of models with other training seeds are: ``model_stability``.

    For each window and target that two folders share: Spearman's correlation of their absolute maps; a
    window's score is the mean over the other folders that have it, NaN where none has.

    Arends et al., European Heart Journal - Digital Health, 2026, call it self-consistency.
    """
    models: dict[str, Path] = {}
    for workspace in workspaces:
        if workspace.args["fingerprint"] != workspaces[0].args["fingerprint"]:
            raise DataError(
                f"{workspace.folder} and {workspaces[0].folder} explain windows of different files"
            )
        twin = models.setdefault(workspace.args["model_fingerprint"], workspace.folder)
        if twin != workspace.folder:
            raise DataError(
                f"{workspace.folder} and {twin} explain the same model: name those of other seeds"
            )
    windows = [list(zip(w.rows.tolist(), w.targets.tolist(), strict=True)) for w in workspaces]
    written = []
    for method in methods:
        maps = [np.abs(workspace.maps(method)) for workspace in workspaces]
        scores = [np.full((len(workspaces), len(explained)), np.nan) for explained in windows]
        for (i, first), (j, second) in combinations(enumerate(windows), 2):
            position = {window: k for k, window in enumerate(second)}
            shared = [(k, position[window]) for k, window in enumerate(first) if window in position]
            in_first, in_second = np.array(shared, int).reshape(-1, 2).T
            similarity = correlation(maps[i][in_first], maps[j][in_second])
            scores[i][j, in_first] = scores[j][i, in_second] = similarity
        for workspace, against in zip(workspaces, scores, strict=True):
            column = Column("model_stability", "absolute", _mean_of_known(against))
            path = models_file(workspace.folder, method)
            written.append(write_csv(path, score_lines(workspace, method, [column]), na_rep="nan"))
    return written


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.divide(
        np.where(known, values, 0).sum(axis=0), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )

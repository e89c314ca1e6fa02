"""Runs grouped by recipe (settings apart from seed and fold), and brought onto the same records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import read_card
from training.config import TrainConfig
from training.predictions import Predictions
from training.tasks.classification import frequent_classes
from utils.config import names_of
from utils.errors import DataError, UsageError
from utils.files import read_json

_REPEATS = {"seed", "fold"}

Cell = tuple[int | None, int | None]  # fold and seed of a run; None where unknown, or for official splits


@dataclass(frozen=True)
class Recipe:
    """Runs that differ in seed and fold alone.

    ``runs``: their predictions, by fold and seed.
    """

    name: str
    runs: dict[Cell, Predictions]


def group_runs(runs: Sequence[Predictions]) -> list[Recipe]:
    """Group runs by their settings apart from seed and fold.

    Of its own recipe is a run without a card, and each of several with the same settings, seed and fold.
    """
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"'{twice[0]}' is named twice, or two runs have this name: compare different runs")
    members: dict[str, list[Predictions]] = {}
    for run in runs:
        members.setdefault(_settings(run), []).append(run)
    groups: list[list[Predictions]] = []
    for group in members.values():
        repeats = len({_cell(run) for run in group}) < len(group)
        groups += [[run] for run in group] if repeats else [group]
    return [
        Recipe(title, {_cell(run): run for run in group})
        for title, group in zip(_titles(groups), groups, strict=True)
    ]


def _settings(run: Predictions) -> str:
    """What must be equal in runs of one recipe, as text."""
    if run.card is None:
        return run.name
    left_out = names_of(TrainConfig, ("run", "machine")) | _REPEATS
    kept = {k: v for k, v in run.card.config.items() if k not in left_out}
    return json.dumps([run.card.model, run.card.task, kept], sort_keys=True)


def _cell(run: Predictions) -> Cell:
    if run.card is None:
        return None, None
    config = run.card.config
    return (config.get("fold") if config.get("split") == "kfold" else None), run.card.provenance.seed


def _titles(groups: Sequence[Sequence[Predictions]]) -> list[str]:
    """A name for each group of runs: what the names of its runs begin with."""
    titles = []
    for group in groups:
        common = group[0].name
        if len(group) > 1:
            while not all(run.name.startswith(common) for run in group):
                common = common[:-1]
            common = re.sub(r"[\W_]*(seed|fold)?[\W_\d]*$", "", common)
        titles.append(common if common and common not in titles else group[0].name)
    return titles


@dataclass(frozen=True)
class Matched:
    """Recipes on the same records and classes.

    ``folds``: for each test fold (None: official split) labels, patients and the predictions of each run,
        keyed by recipe and seed.
    ``left_out``: classes with too few patients to be resampled.
    """

    classes: list[str]
    left_out: list[str]
    folds: dict[int | None, tuple[np.ndarray, np.ndarray, dict[tuple[int, Cell], np.ndarray]]]
    notes: list[str]

    @property
    def records(self) -> int:
        """Records of all folds."""
        return sum(len(labels) for labels, _, _ in self.folds.values())

    @property
    def patients(self) -> int:
        """Patients of all folds."""
        return sum(len(np.unique(patients)) for _, patients, _ in self.folds.values())


def match_records(recipes: Sequence[Recipe], intersection: bool = False) -> Matched:
    """Bring the runs of each fold onto the same records, in the same order, and the same classes.

    Raises
    ------
    UsageError
        Recipes have different folds or classes, or runs different records without ``intersection``.
    DataError
        The same records have different labels or patients.
    """
    first = next(iter(recipes[0].runs.values()))
    folds = [{fold for fold, _ in recipe.runs} for recipe in recipes]
    for recipe, found in zip(recipes, folds, strict=True):
        if found != folds[0]:
            raise UsageError(
                f"'{recipes[0].name}' was scored on {_listed(folds[0])}, '{recipe.name}' on "
                f"{_listed(found)}: compare runs of the same split"
            )
    matched, notes = {}, []
    for fold in sorted(folds[0], key=lambda f: (f is not None, f)):
        runs = {(i, c): run for i, r in enumerate(recipes) for c, run in r.runs.items() if c[0] == fold}
        taken, note = _same_records(list(runs.values()), intersection)
        notes += [note] if note else []
        for run in taken:
            if sorted(run.classes) != sorted(first.classes):
                raise UsageError(f"'{first.name}' has classes {first.classes}, '{run.name}' {run.classes}")
        columns = [[run.classes.index(name) for name in first.classes] for run in taken]
        labels = taken[0].labels[:, columns[0]]
        for run, order in zip(taken, columns, strict=True):
            _check_same(taken[0], run, labels, run.labels[:, order])
        chosen = [run.probabilities[:, order] for run, order in zip(taken, columns, strict=True)]
        matched[fold] = labels, taken[0].patients, dict(zip(runs, chosen, strict=True))
    usable = set.intersection(*(set(frequent_classes(y, who).tolist()) for y, who, _ in matched.values()))
    if not usable:
        raise DataError("no class has enough patients with and without it to be resampled: use more records")
    kept = sorted(usable)
    parts = {
        fold: (y[:, kept], who, {key: p[:, kept] for key, p in runs.items()})
        for fold, (y, who, runs) in matched.items()
    }
    rare = [name for i, name in enumerate(first.classes) if i not in usable]
    return Matched([first.classes[i] for i in kept], rare, parts, notes)


def _same_records(runs: list[Predictions], intersection: bool) -> tuple[list[Predictions], str]:
    """Runs with their records in one order, and what was left out, in words."""
    first = runs[0]
    if all(np.array_equal(run.ids, first.ids) for run in runs):
        return runs, ""
    for run in runs:
        if len(np.unique(run.ids)) < len(run.ids):
            raise UsageError(f"'{run.name}' has several windows of a record: runs on other windows differ")
        if run.ids.dtype.kind != first.ids.dtype.kind:
            raise UsageError(f"'{first.name}' and '{run.name}' have records with other kinds of ids")
    common = first.ids
    for run in runs[1:]:
        common = np.intersect1d(common, run.ids)
    most = max(len(run.ids) for run in runs)
    if len(common) < most and not intersection:
        counts = ", ".join(f"'{run.name}' {len(run.ids)}" for run in runs)
        raise UsageError(
            f"the runs were scored on different records ({counts}; {len(common)} in common): score them on "
            "the same, or compare them on those in common with --intersection"
        )
    if not len(common):
        raise UsageError("the runs have no record in common")
    rows = [run.take(_rows_of(run.ids, common)) for run in runs]
    return rows, f"{len(common)} records in common, of up to {most}" if len(common) < most else ""


def _rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _check_same(first: Predictions, run: Predictions, labels: np.ndarray, others: np.ndarray) -> None:
    if not np.array_equal(labels, others):
        count = int((labels != others).any(axis=1).sum())
        raise DataError(
            f"'{first.name}' and '{run.name}' have other labels for {count} of {len(labels)} records: they "
            "come from other releases or label sets and cannot be compared"
        )
    if not np.array_equal(first.patients, run.patients):
        raise DataError(f"'{first.name}' and '{run.name}' name other patients for the same records")


def _listed(folds: set) -> str:
    numbers = ", ".join(str(fold) for fold in sorted(folds - {None}))
    parts = [f"the test fold {numbers}"] if numbers else []
    return " and ".join([*(["the official split"] if None in folds else []), *parts])


@dataclass(frozen=True)
class RunScores:
    """Scores of recipes over seeds and folds.

    ``scores``: for each metric and recipe, the score of each run by fold and seed.
    ``higher_is_better``: of each metric.
    ``test_ratio``: scored records divided by training records; None where no card says it.
    ``fixed_split``: whether all runs have the same training records.
    """

    recipes: list[str]
    scores: dict[str, list[dict[Cell, float]]]
    higher_is_better: dict[str, bool]
    test_ratio: float | None
    fixed_split: bool


def grid_scores(folder: Path, task: str = "") -> RunScores:
    """Validation scores of the finished runs of a grid, see `training.experiments.grid`.

    Raises
    ------
    UsageError
        The grid has several tasks and none is named, or fewer than two recipes with finished runs.
    """
    grid = read_json(folder / "grid.json", "run the grid again")
    try:
        runs = {run["name"]: run for run in grid["runs"] if run["status"] == "finished"}
        groups = [g for g in grid["groups"] if any(name in runs for name in g["names"])]
        tasks = sorted({group["task"] for group in groups})
        if task or len(tasks) == 1:
            groups = [group for group in groups if group["task"] == (task or tasks[0])]
        elif tasks:
            raise UsageError(f"grid '{grid['name']}' has tasks {', '.join(tasks)}: name one with --task")
        members = [[runs[name] for name in group["names"] if name in runs] for group in groups]
        names = [_changes(group) for group in groups]
        metrics = {group["score_name"]: bool(group["higher_is_better"]) for group in groups}
        by_cell = [{(run["fold"], run["seed"]): float(run["score"]) for run in part} for part in members]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'grid.json'} is not the result of a grid: {error!r}") from error
    if len(groups) < 2:
        raise UsageError(
            f"grid '{grid['name']}' has {len(groups)} recipe(s) with finished runs: nothing to compare"
        )
    if len(metrics) > 1:
        raise UsageError(f"the recipes are judged by different scores: {', '.join(metrics)}")
    ratios = [_ratio_of(folder / run["folder"]) for part in members for run in part]
    known = [ratio for ratio in ratios if ratio is not None]
    return RunScores(
        names,
        dict.fromkeys(metrics, by_cell),
        metrics,
        float(np.mean(known)) if known else None,
        all(fold is None for cells in by_cell for fold, _ in cells),
    )


def _changes(group: Mapping[str, Any]) -> str:
    """Name of a group of a grid: its settings."""
    changed = [
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in group["changes"].items()
    ]
    return ", ".join(changed) or str(group["model"])


def _ratio_of(folder: Path) -> float | None:
    """Validation records divided by training records, by the card of a run."""
    if not (folder / "card.json").exists():
        return None
    counts = read_card(folder).data.records
    return counts["val"] / counts["train"] if counts.get("train") and counts.get("val") else None

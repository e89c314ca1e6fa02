"""Differences between recipes: on the same patients, over seeds and folds, and what could have been found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.experiments.recipes import (
    Cell,
    Matched,
    Recipe,
    RunScores,
    grid_scores,
    group_runs,
    match_records,
)
from training.predictions import Predictions
from utils.bootstrap import resampled_scores
from utils.ecg import NOT_A_DEVICE
from utils.errors import UsageError
from utils.significance import (
    bootstrap_p_value,
    corrected_t_test,
    detectable_difference,
    holm,
    rank_stability,
)

LEVEL = 0.95
POWER = 0.8
HIGHER_IS_BETTER = {"macro_roc_auc": True, "macro_auprc": True, "fmax": True, "brier": False}
_BY_CLASS = {"macro_roc_auc": "class_roc_auc", "macro_auprc": "class_auprc", "brier": "class_brier"}
_SEEDS = (
    "All runs have the same training and the same scored records: this test covers the randomness of "
    "training (initialization, batch order) alone, and its correction makes it cautious. How certain the "
    "records are is what a bootstrap over patients answers."
)
_FOLDS = "Runs have different training and scored records: this test covers both, and training itself."


def compare_records(matched: Matched, recipes: Sequence[Recipe], resamples: int, seed: int) -> dict[str, Any]:
    """Paired bootstrap over patients of all pairs of recipes, for each metric and each class.

    A recipe's score is the mean over its runs. Folds, whose patients differ, are resampled one by one.
    """
    names = [*_BY_CLASS.values(), "fmax"]
    points: dict[str, list[Any]] = {name: [] for name in names}
    values: dict[str, list[Any]] = {name: [] for name in names}
    runs: dict[str, list[dict[Cell, float]]] = {m: [{} for _ in recipes] for m in HIGHER_IS_BETTER}
    rejected = 0
    for number, (labels, patients, found) in enumerate(matched.folds.values()):
        at, drawn, lost = resampled_scores(
            labels, list(found.values()), patients, names, resamples, seed + number
        )
        rejected += lost
        owner = np.array([index for index, _ in found])
        for name in names:
            points[name].append(_mean_of_runs(at[name], owner, len(recipes), axis=0))
            values[name].append(_mean_of_runs(drawn[name], owner, len(recipes), axis=1))
        for metric, of_cells in runs.items():
            single = at[_BY_CLASS.get(metric, metric)].reshape(len(owner), -1).mean(axis=1)
            for (index, cell), value in zip(found, single, strict=True):
                of_cells[index][cell] = float(value)
    point = {name: np.mean(parts, axis=0) for name, parts in points.items()}  # (M, ...)
    value = {name: np.mean(parts, axis=0) for name, parts in values.items()}  # (resamples, M, ...)
    for metric, by_class in _BY_CLASS.items():
        point[metric], value[metric] = point[by_class].mean(axis=-1), value[by_class].mean(axis=-1)
    return {
        "records": matched.records,
        "patients": matched.patients,
        "classes": matched.classes,
        "left_out": matched.left_out,
        "notes": matched.notes,
        "resamples": resamples,
        "rejected": rejected,
        "scores": {metric: _intervals(point[metric], value[metric]) for metric in HIGHER_IS_BETTER},
        "pairs": [row for m in HIGHER_IS_BETTER for row in _pairs(m, point[m], value[m], [""])],
        "class_pairs": [
            row for m, c in _BY_CLASS.items() for row in _pairs(m, point[c], value[c], matched.classes)
        ],
        "runs": runs,
    }


def _mean_of_runs(values: np.ndarray, owner: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Mean over the runs of each recipe, which lie along ``axis``."""
    means = [values.compress(owner == index, axis=axis).mean(axis=axis) for index in range(count)]
    return np.stack(means, axis=axis)


def _intervals(point: np.ndarray, values: np.ndarray) -> list[dict[str, float]]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        {"point": float(p), "low": float(a), "high": float(b)}
        for p, a, b in zip(point, low, high, strict=True)
    ]


def _pairs(
    metric: str, point: np.ndarray, values: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Differences of all pairs of recipes in a metric, macro ([""]) or in each class; Holm over all."""
    point = point.reshape(len(point), -1)
    values = values.reshape(*values.shape[:2], -1)
    rows: list[dict[str, Any]] = []
    for a, b in itertools.combinations(range(len(point)), 2):
        drawn = values[:, a] - values[:, b]
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        p, error = bootstrap_p_value(drawn), drawn.std(axis=0, ddof=1)
        for column, name in enumerate(classes):
            difference = float(point[a, column] - point[b, column])
            rows.append(
                {"a": a, "b": b, "metric": metric, "class": name, "difference": difference}
                | {"low": float(low[column]), "high": float(high[column])}
                | {"standard_error": float(error[column]), "p": float(p[column])}
            )
    adjusted = holm(np.array([row["p"] for row in rows]))
    for row, p_holm in zip(rows, adjusted, strict=True):
        row["p_holm"] = float(p_holm)
        row["detectable"] = float(detectable_difference(row["standard_error"], POWER, 1 - LEVEL))
        strictest = (1 - LEVEL) / len(rows)
        row["detectable_holm"] = float(detectable_difference(row["standard_error"], POWER, strictest))
    return rows


def compare_runs(found: RunScores) -> dict[str, Any] | None:
    """Corrected resampled t-tests and stability of ranks over seeds and folds; None without repeated runs."""
    tests, ranks = [], {}
    cautious = found.test_ratio is None
    ratio = 0.25 if found.test_ratio is None else found.test_ratio
    for metric, recipes in found.scores.items():
        rows = []
        for a, b in itertools.combinations(range(len(recipes)), 2):
            cells = _in_order(recipes[a].keys() & recipes[b].keys())
            if len(cells) > 1:
                d = np.array([recipes[a][cell] - recipes[b][cell] for cell in cells])
                wins = d > 0 if found.higher_is_better[metric] else d < 0
                test = corrected_t_test(d, ratio, LEVEL)
                rows.append({"a": a, "b": b, "metric": metric, **test, "a_better": int(wins.sum())})
        for row, p_holm in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
            row["p_holm"] = float(p_holm)
        tests += rows
        shared = _in_order(set.intersection(*(set(cells) for cells in recipes)))
        if len(shared) > 1 and len(recipes) > 1:
            sign = 1 if found.higher_is_better[metric] else -1
            table = np.array([[sign * cells[cell] for cells in recipes] for cell in shared])
            ranks[metric] = rank_stability(table) | {"runs": len(shared)}
    if not tests:
        return None
    covers = _SEEDS if found.fixed_split else _FOLDS
    if cautious:
        covers += f" No card tells the number of training records: {ratio} is taken for the ratio."
    means = {
        metric: [_spread(list(cells.values())) for cells in recipes]
        for metric, recipes in found.scores.items()
    }
    return {"test_ratio": ratio, "covers": covers, "scores": means, "tests": tests, "ranks": ranks}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "deviation": deviation, "runs": len(values)}


def _in_order(cells: set[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: tuple((value is not None, value or 0) for value in cell))


def compare_predictions(
    runs: Sequence[Predictions], intersection: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare runs on the same records, and their recipes over seeds and folds, as JSON values.

    Parameters
    ----------
    runs : sequence of Predictions
        Two or more; those whose settings differ in seed and fold alone are one recipe.
    intersection : bool
        Compare runs on different records on those that all have in common.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``recipes``; ``by_records`` with ``scores``, ``pairs`` and ``class_pairs`` of the paired bootstrap
        over patients; ``over_runs`` with ``tests`` and ``ranks``, None without repeated runs.

    Raises
    ------
    UsageError
        Fewer than two recipes, or other records, folds or classes.
    DataError
        The same records have other labels.
    """
    recipes = group_runs(runs)
    if len(recipes) < 2:
        raise UsageError("all runs have the same settings apart from seed and fold: name runs of two recipes")
    by_records = compare_records(match_records(recipes, intersection), recipes, resamples, seed)
    found = _run_scores(recipes, by_records.pop("runs"))
    return {
        "name": "-".join(recipe.name for recipe in recipes)[:100],
        "notice": NOT_A_DEVICE,
        "split": ", ".join(dict.fromkeys(run.split for run in runs if run.split))
        or "records of unknown split",
        "recipes": [
            {"name": recipe.name, "runs": [run.name for run in recipe.runs.values()]} for recipe in recipes
        ],
        "higher_is_better": found.higher_is_better,
        "by_records": by_records,
        "over_runs": compare_runs(found),
    }


def _run_scores(recipes: Sequence[Recipe], scores: dict[str, list[dict[Cell, float]]]) -> RunScores:
    """Scores of single runs, with the sizes that their cards tell."""
    ratios = []
    for recipe in recipes:
        for run in recipe.runs.values():
            trained = run.card.data.records.get("train") if run.card else None
            ratios += [len(run.ids) / trained] if trained else []
    fixed = all(fold is None for recipe in recipes for fold, _ in recipe.runs)
    names = [recipe.name for recipe in recipes]
    return RunScores(names, scores, HIGHER_IS_BETTER, float(np.mean(ratios)) if ratios else None, fixed)


def compare_grid(folder: Path, task: str = "") -> dict[str, Any]:
    """Compare the recipes of a grid over seeds and folds by their validation scores, as JSON values.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the grid, with ``grid.json``.
    task : str
        The one to compare, of a grid with several.

    Returns
    -------
    dict
        As `compare_predictions`; ``by_records`` is None.

    Raises
    ------
    UsageError
        No two recipes share two seeds or folds.
    """
    found = grid_scores(folder, task)
    over_runs = compare_runs(found)
    if over_runs is None:
        raise UsageError(f"no two recipes of {folder} share two seeds or folds: there is nothing to test")
    counts = [len(cells) for cells in next(iter(found.scores.values()))]
    return {
        "name": folder.resolve().name,
        "notice": NOT_A_DEVICE,
        "split": "validation records",
        "recipes": [{"name": name, "runs": n} for name, n in zip(found.recipes, counts, strict=True)],
        "higher_is_better": found.higher_is_better,
        "by_records": None,
        "over_runs": over_runs,
    }

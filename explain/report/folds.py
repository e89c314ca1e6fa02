"""The page of a k-fold cross-validation: the scores of its folds, with links to their reports."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from explain.report.charts import FIRST, PLAIN, Dots, Line, Part, chart
from explain.report.parts import STYLES, plain, section, table, with_interval
from utils.errors import DataError
from utils.files import read_json
from utils.report.page import Images, fill, register_section, write_page

PAGE = "folds"
SUMMARY = "fold_summary.json"
_SCORES = (
    ("macro_roc_auc", "macro ROC-AUC"),
    ("macro_f1", "macro F1"),
    ("accuracy", "accuracy"),
    ("val_macro_roc_auc", "macro ROC-AUC, validation"),
    ("val_loss", "loss, validation"),
)
_REMEDY = "train the folds again with --resume"


def write_fold_page(folder: str | os.PathLike) -> Path:
    """Write the page of a k-fold from its ``fold_summary.json`` alone.

    Raises
    ------
    DataError
        The JSON is missing or damaged.
    """
    path = Path(folder) / SUMMARY
    facts = read_json(path, _REMEDY)
    if not isinstance(facts, dict) or not {"run", "folds", "by_class"} <= facts.keys():
        raise DataError(f"{path} is not a summary of folds that has what the page needs: {_REMEDY}")
    return write_page(Path(folder) / "fold_summary.html", PAGE, f"Folds: {facts['run']}", facts)


def _folds(facts: dict[str, Any], images: Images) -> Markup:
    rows = [
        [
            _link(row),
            f"{row['records']:,}",
            plain(row["best_epoch"], 0),
            with_interval(bounds["macro_roc_auc"]),
            *(plain(row[name]) for name, _ in _SCORES[1:]),
        ]
        for row, bounds in zip(facts["folds"], facts["by_class"], strict=True)
    ]
    for name in ("mean", "SD"):
        values = facts.get(name, {})
        rows.append([name, "", "", *(plain(values.get(key)) for key, _ in _SCORES)])
    header = ["fold", "records", "kept epoch", *(title for _, title in _SCORES)]
    words = [
        "Every fold is scored by the run that did not learn from it; the next fold chose its epoch and its "
        "thresholds. In brackets: 95 % intervals over the patients of the fold.",
        "SD is the spread over the folds. It is not an interval of the mean: the runs share most of their "
        "training records.",
    ]
    return section("folds", "Folds", words, [table("Scores of each fold", header, rows), _chart(facts)])


def _link(row: Mapping[str, Any]) -> Markup | str:
    """Number of a fold, linked to its report where there is one."""
    if not row.get("page"):
        return str(row["fold"])
    return fill('<a href="{{ page }}">{{ fold }}: report</a>', page=f"../../{row['page']}", fold=row["fold"])


def _chart(facts: Mapping[str, Any]) -> Markup:
    """Macro ROC-AUC of each fold, and their mean."""
    found = [bounds["macro_roc_auc"] for bounds in facts["by_class"]]
    kept = [(n, b) for n, b in enumerate(found, start=1) if b["point"] is not None]
    if not kept:
        return Markup("")
    low = [b["point"] if b["low"] is None else b["low"] for _, b in kept]
    high = [b["point"] if b["high"] is None else b["high"] for _, b in kept]
    edge = 0.1 * (max(high) - min(low)) or 0.01
    span = (0.5, len(found) + 0.5)
    mean = statistics.mean(b["point"] for _, b in kept)
    dots = Dots([float(n) for n, _ in kept], [b["point"] for _, b in kept], low, high, FIRST)
    words = "Macro ROC-AUC of each fold with its interval; dashed: the mean"
    limits = (min(low) - edge, max(high) + edge)
    parts: list[Part] = [Line(span, [mean, mean], PLAIN, "3 3"), dots]
    svg = chart(parts, words, "fold", "macro ROC-AUC", span, limits, (330, 210), whole=True)
    return fill("explain.report/charts.html", figures=[(svg, words)], title="Macro ROC-AUC", folded=False)


def _classes(facts: dict[str, Any], images: Images) -> Markup:
    found = [bounds["class_roc_auc"] for bounds in facts["by_class"]]
    rows = []
    for name in found[0]:
        values = [of_fold[name] for of_fold in found]
        points = [v["point"] for v in values if v is not None and v["point"] is not None]
        mean = sum(points) / len(points) if points else None
        square = (
            sum((p - mean) ** 2 for p in points) / (len(points) - 1) if len(points) > 1 and mean else None
        )
        spread = None if square is None else square**0.5
        rows.append([name, *(with_interval(v) for v in values), plain(mean), plain(spread)])
    header = ["class", *(f"fold {row['fold']}" for row in facts["folds"]), "mean", "SD"]
    return section("classes", "Each class", [], [table("ROC-AUC of each class", header, rows)])


register_section(PAGE, "folds", _folds, STYLES)
register_section(PAGE, "classes", _classes)

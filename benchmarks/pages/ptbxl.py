"""Results on PTB-XL: the page, the table of README.md, and the same numbers as CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import models
from benchmarks.pages.cells import NOTICE, change, number, spread
from benchmarks.rows import Row, recipe
from training.tasks.classification import CALIBRATION, calibrator_of
from utils.bootstrap import paired_difference
from utils.report.markdown import fill_markdown, markdown
from utils.tables import csv_text

BASELINE = "imle_net"  # the other rows are compared with it, record by record
Rows = Sequence[Row]
Column = tuple[str, Callable[[Row], str]]


def table(rows: Rows, columns: Sequence[Column]) -> str:
    """A table with one line a row."""
    return markdown([name for name, _ in columns], [[text(row) for _, text in columns] for row in rows])


# ---- columns ---------------------------------------------------------------------------------------


def _interval(row: Row, metric: str, name: str | None = None) -> str:
    bounds = row.test["bootstrap"]["intervals"].get(metric)
    bounds = bounds.get(name) if bounds and name else bounds
    return f" [{bounds['low']:.3f}, {bounds['high']:.3f}]" if bounds else ""


def _auc(row: Row) -> str:
    return f"**{number(row.test['metrics']['macro_roc_auc'])}**{_interval(row, 'macro_roc_auc')}"


def _records(row: Row) -> str:
    counts = row.card.data.records
    return f"{counts['train']:,} / {counts['val']:,} / {row.test['records']:,}"


def _ece(row: Row) -> str:
    return f"{number(row.test['metrics'].get('ece'))} → {number(row.test.get('ece_calibrated'))}"


def _metric(name: str, digits: int = 3, scale: float = 1.0) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.test["metrics"].get(name)
        return number(value if value is None else scale * value, digits)

    return text


def _published(name: str, digits: int = 3) -> Callable[[Row], str]:
    return lambda row: f"*{row.published[name]:.{digits}f}*" if name in row.published else "–"


_START: list[Column] = [
    ("model", lambda row: models.title(row.model) + (" *" if row.limits else "")),
    ("recipe", lambda row: f"`{recipe(row.card)}`"),
    ("parameters", lambda row: f"{row.parameters:,}"),
    ("records train / val / test", _records),
    ("epochs (best)", lambda row: f"{row.epochs} ({row.card.metrics['epoch']})"),
    ("fold 9 ROC-AUC", lambda row: number(row.card.metrics["val_macro_roc_auc"])),
    ("fold 10 ROC-AUC (95 % CI)", _auc),
]
_END: list[Column] = [("macro F1", _metric("macro_f1_at_thresholds")), ("ECE → calibrated", _ece)]
_MULTICLASS: list[Column] = [
    *_START,
    ("accuracy of the most probable class %", _metric("top1_accuracy", 1, 100)),
    *_END,
]
_MULTILABEL: list[Column] = [
    *_START,
    ("published", _published("macro_roc_auc")),
    ("accuracy %", _metric("mean_accuracy", 1, 100)),
    ("published", _published("mean_accuracy_percent", 1)),
    ("max F1", _metric("max_f1_reference")),
    ("published", _published("max_f1")),
    *_END,
]
_TASKS = {"superdiagnostic": "Five superclasses", "mi": "Second stage: ASMI, IMI or NORM"}


# ---- the tables of a task --------------------------------------------------------------------------


def differences(rows: Rows) -> str:
    """Paired differences of macro ROC-AUC from the baseline row, on the same records."""
    base = next((row for row in rows if row.name == BASELINE), None)
    others = [row for row in rows if row is not base]
    if base is None or not others:
        return ""
    theirs, lines = base.predictions(), []
    for row in others:
        ours = row.predictions()
        if not np.array_equal(ours["ecg_id"], theirs["ecg_id"]):
            lines.append([f"`{row.name}`", "–", "scored on other records"])
            continue
        result = paired_difference(
            theirs["label"], ours["probability"], theirs["probability"], theirs["patient_id"]
        )
        sure = result["low"] > 0 or result["high"] < 0
        lines.append([f"`{row.name}`", change(result), "yes" if sure else "no"])
    return (
        f"Difference of fold-10 macro ROC-AUC from `{BASELINE}`, on the same 1000 resamples of patients:\n\n"
        + markdown(["row", "difference (95 % CI)", "interval excludes 0"], lines)
    )


def seed_table(rows: Rows) -> str:
    """Means over seeds of the recipes that were trained with several."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, re.sub(r", --seed \d+", "", recipe(row.card))), []).append(row)
    lines = []
    for (model, name), group in groups.items():
        if len({row.card.provenance.seed for row in group}) > 1:
            aucs = [row.test["metrics"]["macro_roc_auc"] for row in group]
            seeds = ", ".join(str(row.card.provenance.seed) for row in group)
            lines.append([models.title(model), f"`{name}`", seeds, spread(aucs)])
    header = ["model", "recipe", "seeds", "fold 10 ROC-AUC, mean (smallest – largest)"]
    return markdown(header, lines) if lines else ""


def calibration_changes(row: Row) -> dict[str, Any]:
    """Calibration scores before and after, with differences; empty for a row without a calibrator."""
    if "calibrated" in row.test:
        return row.test["calibrated"].get("differences", {})
    calibrator = calibrator_of(row.card.outputs.decision)
    if calibrator is None or "impossible" in row.test["bootstrap"]:
        return {}
    saved = row.predictions()
    raw = saved["probability"]
    return {
        name: paired_difference(saved["label"], calibrator(raw), raw, saved["patient_id"], name)
        for name in CALIBRATION
    }


def calibration_table(rows: Rows) -> str:
    """Calibration scores and what the calibrator changes."""
    header = ["row"]
    for title in CALIBRATION.values():
        header += [f"{title} → calibrated", "difference (95 % CI)"]
    lines = []
    for row in rows:
        changes, line = calibration_changes(row), [f"`{row.name}`"]
        for name in CALIBRATION:
            result = changes.get(name)
            raw = result["b"] if result else row.test["metrics"].get(name)
            line.append(f"{number(raw)} → {number(result['a'] if result else None)}")
            line.append(change(result) if result else "–")
        lines.append(line)
    return (
        "Calibration on fold 10, means over classes; lower is better. A dash: no calibrator, because none "
        "lowered the log loss of the patients of fold 9 that it was not fitted on.\n\n"
        + markdown(header, lines)
    )


def class_table(rows: Rows) -> str:
    """ROC-AUC of each class with its interval."""

    def column(name: str) -> Column:
        return (
            name,
            lambda row: (
                number(row.test["metrics"]["class_roc_auc"].get(name)) + _interval(row, "class_roc_auc", name)
            ),
        )

    classes = dict.fromkeys(name for row in rows for name in row.card.classes)
    columns: list[Column] = [("row", lambda row: f"`{row.name}`"), *map(column, classes)]
    return "ROC-AUC of each class on fold 10 (95 % CI):\n\n" + table(rows, columns)


# ---- the page --------------------------------------------------------------------------------------


def efficiency_table(full: Rows, small: Rows) -> str:
    """The same recipe with few and with all training records."""
    others = {row.name: row for row in full}
    columns: list[Column] = [
        ("model", lambda row: models.title(row.model)),
        ("row", lambda row: f"`{row.name}`"),
        ("records", lambda row: f"{row.training_records:,}"),
        ("ROC-AUC (95 % CI)", _auc),
        ("records", lambda row: f"{others[row.name].training_records:,}" if row.name in others else "–"),
        ("ROC-AUC (95 % CI)", lambda row: _auc(others[row.name]) if row.name in others else "–"),
        ("published", _published("macro_roc_auc")),
    ]
    return table(small, columns)


def _by_task(rows: Rows) -> list[tuple[str, list[Row]]]:
    """Rows of each label set, those of the published study first."""
    tasks = {row.card.task for row in rows}
    ordered = [task for task in _TASKS if task in tasks] + sorted(tasks - _TASKS.keys())
    return [(task, [row for row in rows if row.card.task == task]) for task in ordered]


def page(full: Rows, small: Rows) -> str:
    """The page: rows on all of PTB-XL, then those on few records."""
    functions = (differences, seed_table, calibration_table, class_table, efficiency_table)
    return fill_markdown(
        "benchmarks.pages/ptbxl.md.jinja",
        full=full,
        small=small,
        by_task=_by_task,
        main_table=lambda rows, multiclass: table(rows, _MULTICLASS if multiclass else _MULTILABEL),
        NOTICE=NOTICE,
        TASKS=_TASKS,
        **{name: getattr(models, name) for name in ("SOURCE", "PUBLISHED_RECORDS", "PUBLISHED_TRAINING")},
        **{function.__name__: function for function in functions},
    )


# ---- README.md and CSV -----------------------------------------------------------------------------


def short_table(full: Rows, small: Rows) -> str:
    """The table of README.md: each recipe once, with all records where it was trained on them."""
    rows: dict[str, Row] = {}
    for row in [*full, *small]:
        if row.card.task == "superdiagnostic" and "--seed" not in recipe(row.card):
            rows.setdefault(row.name, row)
    if not rows:
        return "No row has been collected yet."

    def name(row: Row) -> str:
        return models.title(row.model) + (f" (`{row.name}`)" if row.name != row.model else "")

    columns: list[Column] = [
        ("model", name),
        ("records trained", lambda row: f"{row.training_records:,}"),
        ("fold 10 ROC-AUC (95 % CI)", _auc),
        ("published", _published("macro_roc_auc")),
        ("accuracy %", _metric("mean_accuracy", 1, 100)),
        ("max F1", _metric("max_f1_reference")),
    ]
    note = (
        f"Five superclasses of PTB-XL. *Published*: doi:{models.SOURCE}, {models.PUBLISHED_TRAINING:,} "
        "training records; rows with fewer cannot be compared with it. Every choice was made on fold 9."
    )
    ordered = sorted(rows.values(), key=lambda row: (models.order(row.model), row.name))
    return f"{table(ordered, columns)}\n\n<sub>{note}</sub>"


def to_csv(full: Rows, small: Rows) -> str:
    """Every number of the tables for programs; empty without rows."""
    lines = [_csv_line("ptbxl", row) for row in full] + [_csv_line("ptbxl_small", row) for row in small]
    return csv_text(pd.DataFrame(lines, dtype=object)) if lines else ""


def _csv_line(folder: str, row: Row) -> dict[str, Any]:
    card, metrics = row.card, row.test["metrics"]
    interval = row.test["bootstrap"]["intervals"].get("macro_roc_auc") or {}
    accuracy = metrics.get("mean_accuracy")
    return {
        "row": row.name,
        "model": row.model,
        "task": card.task,
        "recipe": recipe(card),
        "parameters": row.parameters,
        "train_records": row.training_records,
        "val_records": card.data.records["val"],
        "test_records": row.test["records"],
        "limit": row.limits,
        "epochs": row.epochs,
        "best_epoch": card.metrics["epoch"],
        "val_macro_roc_auc": card.metrics["val_macro_roc_auc"],
        "test_macro_roc_auc": metrics["macro_roc_auc"],
        "test_macro_roc_auc_low": interval.get("low"),
        "test_macro_roc_auc_high": interval.get("high"),
        "published_macro_roc_auc": row.published.get("macro_roc_auc"),
        "mean_accuracy_percent": None if accuracy is None else 100 * accuracy,
        "published_mean_accuracy_percent": row.published.get("mean_accuracy_percent"),
        "max_f1_reference": metrics.get("max_f1_reference"),
        "published_max_f1": row.published.get("max_f1"),
        "macro_f1_at_thresholds": metrics.get("macro_f1_at_thresholds"),
        "top1_accuracy": metrics.get("top1_accuracy"),
        "ece": metrics.get("ece"),
        "ece_calibrated": row.test.get("ece_calibrated"),
        "seed": card.provenance.seed,
        "git_commit": card.provenance.git_commit,
        "folder": folder,
    }

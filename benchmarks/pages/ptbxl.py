"""Results on PTB-XL: the page, the table of README.md, and the same numbers as CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import models
from benchmarks.pages.cells import NOTICE, change, spread
from benchmarks.rows import Row, recipe
from training.tasks.classification import CALIBRATION, calibrator_of
from utils.bootstrap import paired_difference
from utils.report.markdown import fill_markdown, markdown_macros
from utils.tables import csv_text

BASELINE = "imle_net"  # the other rows are compared with it, record by record
_TASKS = {"superdiagnostic": "Five superclasses", "mi": "Second stage: ASMI, IMI or NORM"}
Rows = Sequence[Row]


def compared_with_baseline(rows: Rows) -> list[tuple[Row, dict[str, Any] | None]]:
    """Paired difference of macro ROC-AUC from the baseline row; None for a row with other records."""
    base = next((row for row in rows if row.name == BASELINE), None)
    if base is None:
        return []
    theirs, compared = base.predictions(), []
    for row in rows:
        if row is base:
            continue
        ours, result = row.predictions(), None
        if np.array_equal(ours["ecg_id"], theirs["ecg_id"]):
            result = paired_difference(
                theirs["label"], ours["probability"], theirs["probability"], theirs["patient_id"]
            )
        compared.append((row, result))
    return compared


def seed_groups(rows: Rows) -> list[tuple[str, str, list[Row]]]:
    """Model, recipe and rows of what was trained with several seeds."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, re.sub(r", --seed \d+", "", recipe(row.card))), []).append(row)
    return [
        (*key, group) for key, group in groups.items() if len({r.card.provenance.seed for r in group}) > 1
    ]


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


def one_of_each_recipe(full: Rows, small: Rows) -> list[Row]:
    """Rows of README.md: each recipe once, with all records where it was trained on them."""
    rows: dict[str, Row] = {}
    for row in [*full, *small]:
        if row.card.task == "superdiagnostic" and "--seed" not in recipe(row.card) and not row.baseline:
            rows.setdefault(row.name, row)
    return sorted(rows.values(), key=lambda row: (models.order(row.model), row.name))


def sources(rows: Rows) -> str:
    """Studies whose scores stand beside the rows, each with its models where there are several."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.source and models.title(row.model) not in found.setdefault(row.source, []):
            found[row.source].append(models.title(row.model))
    texts = []
    for doi, names in found.items():
        study = models.STUDIES.get(doi)
        text = f"{study} (doi:{doi})" if study else f"doi:{doi}"
        texts.append(f"{text} for {', '.join(names)}" if len(found) > 1 else text)
    return "; ".join(texts)


def by_task(rows: Rows) -> list[tuple[str, list[Row]]]:
    """Rows of each label set, those of the published study first."""
    tasks = {row.card.task for row in rows}
    ordered = [task for task in _TASKS if task in tasks] + sorted(tasks - _TASKS.keys())
    return [(task, [row for row in rows if row.card.task == task]) for task in ordered]


_NAMES = {
    "BASELINE": BASELINE,
    "CALIBRATION": CALIBRATION,
    "NOTICE": NOTICE,
    "PUBLISHED_RECORDS": models.PUBLISHED_RECORDS,
    "PUBLISHED_TRAINING": models.PUBLISHED_TRAINING,
    "TASKS": _TASKS,
    "by_task": by_task,
    "calibration_changes": calibration_changes,
    "change": change,
    "compared_with_baseline": compared_with_baseline,
    "one_of_each_recipe": one_of_each_recipe,
    "recipe": recipe,
    "seed_groups": seed_groups,
    "sources": sources,
    "spread": spread,
    "title": models.title,
}
tables = markdown_macros("benchmarks.pages/ptbxl_tables.md.jinja", **_NAMES)


def page(full: Rows, small: Rows) -> str:
    """The page: rows on all of PTB-XL, then those on few records."""
    return fill_markdown("benchmarks.pages/ptbxl.md.jinja", full=full, small=small, tables=tables, **_NAMES)


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
        "published_source": row.source,
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

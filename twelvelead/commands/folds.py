"""Train every fold of a k-fold cross-validation, score each on its held-out fold, and summarize."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from explain.report.folds import SUMMARY, write_fold_page
from training.card import NOTICE
from training.checkpoint import find_checkpoint, holds_card, read_card
from training.config import TrainConfig
from training.experiments.evaluation_tables import fold_table
from training.families import Family
from twelvelead.commands.evaluate import evaluate, options_for_fold
from utils.errors import UsageError
from utils.files import jsonable, write_json
from utils.tables import write_csv


def train_folds(family: Family, config: TrainConfig) -> None:
    """Train one run a fold, named RUN_fold1, RUN_fold2, ..., and write the summary of RUN.

    ``--resume`` goes through all folds: finished ones are only scored again.
    """
    runs = [_of_fold(config, number) for number in range(1, config.folds + 1)]
    present = [one.run for one in runs if _started(one)]
    if present and not (config.resume or config.overwrite):
        raise UsageError(
            f"run '{present[0]}' exists: --resume continues the folds, --overwrite replaces them, --run NAME "
            "starts others"
        )
    for one in runs:
        family.run(dataclasses.replace(one, resume=config.resume and _started(one)))
    scored = [_score(number, one) for number, one in enumerate(runs, start=1)]
    rows = [row for row, _ in scored]
    table = fold_table(rows)
    folder = Path(config.output_dir) / "results" / config.run
    summary = table[table["fold"].isin(["mean", "SD"])].dropna(axis=1, how="all").set_index("fold")
    write_csv(folder / "fold_summary.csv", table)
    write_json(
        folder / SUMMARY,
        {"run": config.run, "folds": rows, "by_class": [bounds for _, bounds in scored]}
        | jsonable(summary.to_dict("index"))
        | {"notice": NOTICE},
    )
    page = write_fold_page(folder)
    shown = ["fold", "val_accuracy", "val_loss", "macro_f1", "macro_roc_auc"]
    print(table[shown].to_string(index=False, na_rep="", float_format="{:.4f}".format))
    print(f"wrote {folder / 'fold_summary.csv'}, {folder / SUMMARY} and {page}")


def _of_fold(config: TrainConfig, number: int) -> TrainConfig:
    return dataclasses.replace(config, fold=number, run=f"{config.run}_fold{number}")


def _started(config: TrainConfig) -> bool:
    folder = Path(config.output_dir) / "checkpoints" / config.run
    return holds_card(folder) or (folder / "last" / "state.safetensors").exists()


def _score(number: int, config: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score one run on its held-out fold; the row of the summary, and its ROC-AUC with intervals."""
    folder = find_checkpoint(config.run, config.output_dir)
    report, written = evaluate(options_for_fold(config.run, config.output_dir, config.threads), folder)
    metrics, card = report["metrics"], read_card(folder)
    results = written[0].parent.relative_to(config.output_dir).as_posix()
    row = {
        "fold": number,
        "best_epoch": card.metrics.get("epoch"),
        "val_accuracy": card.metrics.get("val_mean_accuracy"),
        "val_loss": card.metrics.get("val_loss"),
        "val_macro_roc_auc": card.metrics.get("val_macro_roc_auc"),
        "accuracy": metrics["mean_accuracy_at_thresholds"],
        "macro_f1": metrics["macro_f1_at_thresholds"],
        "macro_roc_auc": metrics["macro_roc_auc"],
        "records": report["records"],
        "run": config.run,
        "report": f"{results}/classification_report.csv",
        "page": f"{results}/report/report.html",
        "history": f"logs/{config.run}/metrics.csv",
    }
    return row, _bounds(report)


def _bounds(report: dict[str, Any]) -> dict[str, Any]:
    """ROC-AUC over all classes and of each, with intervals where there are any."""
    metrics, intervals = report["metrics"], report["bootstrap"]["intervals"]
    by_class = intervals.get("class_roc_auc", {})

    def bounds(point: float | None, found: dict[str, Any] | None) -> dict[str, Any]:
        return found or {"point": point, "low": None, "high": None}

    return {
        "macro_roc_auc": bounds(metrics["macro_roc_auc"], intervals.get("macro_roc_auc")),
        "class_roc_auc": {
            name: bounds(point, by_class.get(name)) for name, point in metrics["class_roc_auc"].items()
        },
    }

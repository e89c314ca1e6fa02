"""Metrics of a trained model on one split: numbers, intervals and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from preprocessing import Dataset
from training.predictor import Predictor
from utils.bootstrap import bootstrap, paired_difference
from utils.errors import DataError
from utils.metrics import evaluate
from utils.tables import csv_text

FREQUENT = 5  # patients with a class, and without it, from which on it counts as frequent
INTERVALS = ("macro_roc_auc", "class_roc_auc", "macro_auprc", "mean_accuracy", "macro_f1_at_thresholds")
CALIBRATION = {"ece": "ECE", "brier": "Brier score", "log_loss": "log loss"}  # of evaluate; lower is better
PROPER = ("brier", "log_loss")  # those with an interval of their own


def predict_dataset(predictor: Predictor, dataset: Dataset, batch_size: int = 32) -> np.ndarray:
    """Probabilities of a whole split, read batch by batch.

    Returns shape (N, C).
    """
    total = len(dataset.labels)
    starts = tqdm(range(0, total, batch_size), desc="predict", unit="batch", leave=False, disable=None)
    return np.concatenate(
        [predictor.predict(dataset.signals[s : s + batch_size], batch_size) for s in starts]
    )


def score(
    predictor: Predictor, dataset: Dataset, probabilities: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Metrics of one split with confidence intervals over patients.

    Shapes: probabilities (N, C).
    """
    result = {"metrics": evaluate(dataset.labels, probabilities, dataset.classes, predictor.thresholds)}
    try:
        result["bootstrap"] = bootstrap(
            dataset.labels,
            probabilities,
            dataset.patient_ids,
            metrics=(*INTERVALS, *PROPER),
            thresholds=predictor.thresholds,
            classes=dataset.classes,
            resamples=resamples,
            seed=seed,
        )
    except DataError as error:  # too few records of a class: the values stand, and the table says why alone
        result["bootstrap"] = {"intervals": {}, "impossible": str(error)}
    chosen = _frequent_classes(dataset)
    if 0 < chosen.size < len(dataset.classes):
        result["frequent"] = _frequent(predictor, dataset, probabilities, chosen, resamples, seed)
    if predictor.calibrator is not None:
        calibrated = predictor.calibrator(probabilities)
        possible = "impossible" not in result["bootstrap"]
        result["calibrated"] = _calibrated(dataset, probabilities, calibrated, possible, resamples, seed)
        result["ece_calibrated"] = result["calibrated"]["metrics"]["ece"]
    return result


def _calibrated(
    dataset: Dataset,
    raw: np.ndarray,
    calibrated: np.ndarray,
    possible: bool,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of calibration of calibrated probabilities, and their differences from those of raw ones."""
    labels, patients = dataset.labels, dataset.patient_ids
    metrics = evaluate(labels, calibrated, dataset.classes)
    result: dict[str, Any] = {"metrics": {name: metrics[name] for name in CALIBRATION}}
    if possible:
        options = {"resamples": resamples, "seed": seed}
        result["intervals"] = bootstrap(labels, calibrated, patients, PROPER, **options)["intervals"]
        result["differences"] = {
            name: paired_difference(labels, calibrated, raw, patients, name, **options)
            for name in CALIBRATION
        }
    return result


def _frequent_classes(dataset: Dataset) -> np.ndarray:
    """Columns of the classes that enough patients have, and enough have not."""
    patients = np.unique(dataset.patient_ids)
    having = np.array(
        [len(np.unique(dataset.patient_ids[column > 0])) for column in dataset.labels.T], dtype=np.int64
    )
    return np.flatnonzero((having >= FREQUENT) & (len(patients) - having >= FREQUENT))


def _frequent(
    predictor: Predictor,
    dataset: Dataset,
    probabilities: np.ndarray,
    chosen: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Metrics and intervals over some of the classes."""
    labels, p = dataset.labels[:, chosen], probabilities[:, chosen]
    classes = [dataset.classes[column] for column in chosen]
    thresholds = np.asarray(predictor.thresholds)[chosen]
    names = ("macro_roc_auc", "macro_auprc", "macro_f1_at_thresholds")
    metrics = evaluate(labels, p, classes, thresholds)
    found = bootstrap(
        labels,
        p,
        dataset.patient_ids,
        metrics=names,
        thresholds=thresholds,
        classes=classes,
        resamples=resamples,
        seed=seed,
    )
    kept = {name: metrics[name] for name in names}
    return {"least_patients": FREQUENT, "classes": classes, "metrics": kept, "bootstrap": found}


def predictions_csv(dataset: Dataset, probabilities: np.ndarray, thresholds: np.ndarray) -> str:
    """Predictions of a split as a table for spreadsheets.

    Shapes: probabilities (N, C), thresholds (C,).
    """
    columns: dict[str, Any] = {"ecg_id": dataset.ecg_ids}
    for index, name in enumerate(dataset.classes):
        columns[f"Label_{name}"] = dataset.labels[:, index]
        columns[f"Pred_{name}"] = (probabilities[:, index] >= thresholds[index]).astype(int)
        columns[f"Prob_{name}"] = probabilities[:, index].round(6)
    return csv_text(pd.DataFrame(columns))


def table(report: dict[str, Any]) -> str:
    """Text table of a test report."""
    metrics, intervals = report["metrics"], report["bootstrap"]["intervals"]

    def number(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    def interval(bounds: Any) -> str:
        return f"[{bounds['low']:.4f}, {bounds['high']:.4f}]" if bounds else ""

    rows = [
        ("macro ROC-AUC", metrics["macro_roc_auc"], intervals.get("macro_roc_auc")),
        ("mean accuracy at 0.5", metrics["mean_accuracy"], intervals.get("mean_accuracy")),
        ("mean accuracy, fold-9 thresholds", metrics["mean_accuracy_at_thresholds"], None),
        ("max F1 (reference's, 10 thresholds)", metrics["max_f1_reference"], None),
        (
            "macro F1, fold-9 thresholds",
            metrics["macro_f1_at_thresholds"],
            intervals.get("macro_f1_at_thresholds"),
        ),
        ("Fmax", metrics["fmax"], None),
        ("macro AUPRC", metrics["macro_auprc"], intervals.get("macro_auprc")),
    ]
    after = report.get("calibrated", {})
    for key, title in CALIBRATION.items():
        rows.append((title, metrics.get(key), intervals.get(key)))
        if after:
            bounds = after.get("intervals", {}).get(key)
            rows.append((f"{title}, calibrated on fold 9", after["metrics"][key], bounds))
            change = after.get("differences", {}).get(key)
            if change:
                rows.append((f"{title}, change by calibration", change["difference"], change))
    if metrics.get("top1_accuracy") is not None:
        rows.insert(1, ("accuracy of the most probable class", metrics["top1_accuracy"], None))
    frequent = report.get("frequent")
    if frequent:
        bounds = frequent["bootstrap"]["intervals"]["macro_roc_auc"]
        name = f"macro ROC-AUC of {len(frequent['classes'])} frequent classes"
        rows.insert(1, (name, frequent["metrics"]["macro_roc_auc"], bounds))
    lines = [f"{'metric':38s}{'value':>10s}  95 % interval over patients"]
    lines += [f"{name:38s}{number(value):>10s}  {interval(bounds)}".rstrip() for name, value, bounds in rows]
    by_class = intervals.get("class_roc_auc", {})
    lines += [
        f"{'ROC-AUC ' + name:38s}{number(v):>10s}  {interval(by_class.get(name))}".rstrip()
        for name, v in metrics["class_roc_auc"].items()
    ]
    if metrics["undefined_classes"]:
        lines.append(
            f"undefined here (no positive or no negative record): {', '.join(metrics['undefined_classes'])}"
        )
    counts = report["bootstrap"]
    if "impossible" in counts:
        lines.append(f"no intervals: {counts['impossible']}")
    else:
        lines.append(
            f"{counts['resamples']} resamples of {counts['patients']} patients; "
            f"{counts['rejected']} more lost a class and were rejected"
        )
    if frequent:
        least = frequent["least_patients"]
        lines.append(f"frequent: {least} patients or more: {', '.join(frequent['classes'])}")
    return "\n".join(lines)

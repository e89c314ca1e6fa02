"""The JSON of a report: everything that its page, its Markdown and its tables show."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explain.report import numbers
from explain.report.disagreement import error_examples, failures, label_noise
from explain.report.scored import Scored
from explain.report.subgroups import subgroup_rows
from training.card import TITLES
from training.tasks import create_task
from training.tasks.classification import calibrator_of, thresholds_of
from utils.ecg import LEADS

FORMAT = 1
Read = Callable[[int], np.ndarray]  # row -> signal (T, leads) in mV
_LISTED_NOISE = 200  # records
_SHOWN_RATE = 100  # Hz, of the pictures
_RECIPE = (
    "split", "fold", "folds", "subsample_frac", "batchsize", "epochs", "lr", "optimizer", "schedule",
    "weight_decay", "loss", "augment", "mixup", "early_stopping", "highpass", "preprocess", "seed",
    "backbone",
)  # fmt: skip


def make_facts(
    scored: Scored,
    records: pd.DataFrame | None = None,
    metrics_csv: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All numbers of a report except those that need signals.

    ``records``: rows of the database's table, one for each row of the predictions.
    ``metrics_csv``: the curves of the training, where there is the file.
    """
    card, classes = scored.card, scored.card.classes
    task = create_task(card.kind, classes, card.inputs.sampling_rate)
    decision = card.outputs.decision
    labels, p = scored.labels, scored.probabilities
    thresholds = thresholds_of(decision, len(classes))
    decisions = np.asarray(task.decode(p, decision)).astype(bool)
    judged = task.report(scored, p, decision, resamples, seed)
    exclusive = not card.multilabel
    wrong = failures(scored.ids, scored.patients, labels, p, decisions, thresholds, classes, exclusive)
    noise = label_noise(scored.ids, scored.patients, labels, p, classes, scored.folds)
    return {
        "format": FORMAT,
        **_summary(scored, decision, thresholds),
        "scores": _scores(judged),
        "bootstrap": {"resamples": resamples, "seed": seed, "note": judged["bootstrap"].get("impossible")},
        "per_class": _per_class(scored, decisions, judged, thresholds, resamples, seed),
        "roc": [numbers.roc_curve(labels[:, c], p[:, c]) for c in range(len(classes))],
        "pr": [numbers.pr_curve(labels[:, c], p[:, c]) for c in range(len(classes))],
        "most_probable": numbers.most_probable(labels, p, classes),
        "calibration": _calibration(scored, decision, judged, resamples, seed),
        "sweep": numbers.threshold_sweep(labels, p),
        "histograms": numbers.histograms(p, decisions == labels.astype(bool)),
        "training": _training(metrics_csv),
        "subgroups": []
        if records is None
        else subgroup_rows(records, labels, p, scored.patients, resamples, seed),
        "label_noise": {**noise, "records": noise["records"][:_LISTED_NOISE]},
        "failures": wrong,
        "examples": error_examples(wrong, classes),
        "pictures": {},
        "lead_importance": None,
    }


def _summary(scored: Scored, decision: Any, thresholds: np.ndarray) -> dict[str, Any]:
    card = scored.card
    settings = {name: card.config[name] for name in _RECIPE if card.config.get(name)}
    if settings.get("split") != "kfold":
        settings = {name: value for name, value in settings.items() if name not in ("fold", "folds")}
    return {
        "run": scored.run,
        "model": card.name,
        "framework": TITLES[card.framework],
        "task": card.task,
        "kind": card.kind,
        "database": card.config.get("database", ""),
        "split": scored.split,
        "split_name": scored.split_name,
        "records": len(scored.ids),
        "patients": len(np.unique(scored.patients)),
        "classes": card.classes,
        "thresholds": thresholds.tolist() if card.multilabel else None,
        "chosen_on": card.outputs.chosen_on,
        "source": scored.source,
        "notes": list(scored.notes),
        "inputs": {
            "leads": len(card.inputs.leads),
            "sampling_rate": card.inputs.sampling_rate,
            "seconds": card.inputs.samples / card.inputs.sampling_rate,
            "crop": card.inputs.crop,
        },
        "trained_on": {"splits": card.data.splits, "records": card.data.records},
        "recipe": settings,
        "command": card.provenance.command,
        "git_commit": card.provenance.git_commit,
        "packages": card.provenance.packages,
        "epoch": card.metrics.get("epoch"),
        "weights_sha256": card.weights_sha256,
        "fingerprint": card.data.fingerprint,
        "records_sha256": digest(scored),
    }


def digest(scored: Scored) -> str:
    """Digest of records and labels in any order: equal where two reports are about the same ones."""
    ids = scored.ids.astype(str)
    order = np.argsort(ids, kind="stable")
    content = hashlib.sha256("\n".join([*scored.card.classes, *ids[order]]).encode())
    content.update(scored.labels[order].astype(np.uint8).tobytes())
    return content.hexdigest()


_HEADLINES = (
    ("macro ROC-AUC", "macro_roc_auc"),
    ("macro AUPRC", "macro_auprc"),
    ("macro F1, chosen thresholds", "macro_f1_at_thresholds"),
    ("mean accuracy at 0.5", "mean_accuracy"),
    ("Fmax", "fmax"),
    ("accuracy of the most probable class", "top1_accuracy"),
    ("Brier score", "brier"),
    ("log loss", "log_loss"),
    ("ECE", "ece"),
)


def _scores(judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Scores over all classes as test.json has them, with their intervals where there are any."""
    metrics, intervals = judged["metrics"], judged["bootstrap"]["intervals"]
    rows = []
    for title, name in _HEADLINES:
        if metrics.get(name) is not None:
            bounds = intervals.get(name) or {}
            value = {"point": metrics[name], "low": bounds.get("low"), "high": bounds.get("high")}
            rows.append({"name": title, "key": name, **value})
    return rows


def _per_class(
    scored: Scored,
    decisions: np.ndarray,
    judged: Mapping[str, Any],
    thresholds: np.ndarray,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    labels, p, classes = scored.labels, scored.probabilities, scored.card.classes
    rows = numbers.class_scores(labels, decisions, p, scored.patients, resamples, seed)
    of_test = judged["bootstrap"]["intervals"].get("class_roc_auc", {})
    metrics, result = judged["metrics"], []
    for column, (name, row) in enumerate(zip(classes, rows, strict=True)):
        positives = int(labels[:, column].sum())
        first = {"class": name, "positives": positives, "prevalence": positives / len(labels)}
        first["threshold"] = float(thresholds[column]) if scored.card.multilabel else None
        proper = {key: metrics[f"class_{key}"][name] for key in ("brier", "log_loss", "ece")}
        result.append({**first, **row, "roc_auc": of_test.get(name) or row["roc_auc"], **proper})
    return result


def _calibration(
    scored: Scored, decision: Any, judged: Mapping[str, Any], resamples: int, seed: int
) -> dict[str, Any]:
    """Reliability of the probabilities before and, where the card has a calibration, after it."""
    labels, patients, calibrator = scored.labels, scored.patients, calibrator_of(decision)
    names, metrics = ("ece", "brier", "log_loss"), judged["metrics"]
    before = {
        "scores": {name: metrics[name] for name in names},
        "bins": numbers.reliability(labels, scored.probabilities, patients, resamples, seed),
    }
    if calibrator is None:
        return {"before": before, "after": None}
    calibrated = calibrator(scored.probabilities)
    bins = numbers.reliability(labels, calibrated, patients, resamples, seed)
    return {"before": before, "after": {"scores": judged["calibrated"]["metrics"], "bins": bins}}


def _training(path: Path | None) -> dict[str, Any] | None:
    """Columns of metrics.csv that are numbers; None without the file."""
    if path is None or not path.is_file():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0]:
        return None
    columns = {name: [_number(row.get(name)) for row in rows] for name in rows[0] if name}
    return {name: values for name, values in columns.items() if any(v is not None for v in values)}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def pictured_ids(facts: Mapping[str, Any], most: int) -> list[Any]:
    """Records to draw: the farthest and the nearest errors of each class in turn."""
    order: list[Any] = []
    for which in ("farthest", "nearest"):
        for entry in facts["examples"]:
            order += [row["ecg_id"] for row in entry[which][:1]]
    return list(dict.fromkeys(order))[:most]


def picture(signal: np.ndarray, leads: Sequence[str], sampling_rate: float) -> dict[str, Any]:
    """The 12 leads of a record in microvolts from their medians, 3 rows of 4 columns of a quarter each.

    Shapes: signal (T, leads) in mV.
    """
    step = max(1, round(sampling_rate / _SHOWN_RATE))
    shown = (signal - np.median(signal, axis=0))[::step]
    quarter, rows = len(shown) // 4, {}
    for number, lead in enumerate(LEADS):
        start = number // 3 * quarter
        part = shown[start : start + quarter, list(leads).index(lead)]
        rows[lead] = np.rint(1000 * part).astype(int).tolist()
    return {"rate": sampling_rate / step, "leads": rows}

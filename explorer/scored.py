"""Scored runs and what their files say: metrics, training curves, records that a run gets wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.checkpoint import ROOT
from training.predictions import ROWS, Predictions, scored_predictions
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json

ANY_CLASS = "any class"
KINDS = ("nearest to the threshold", "false negatives", "false positives", "farthest on the wrong side")
_HEADLINES = {
    "macro_roc_auc": "macro ROC-AUC",
    "macro_auprc": "macro AUPRC",
    "macro_f1_at_thresholds": "macro F1",
    "brier": "Brier score",
}
_ROW_FOLDERS = ("ptbxl", "ptbxl_small")


@dataclass(frozen=True)
class ScoredRun:
    """A run that was scored: its name and its files.

    ``folder``: of ``test.json``, ``predictions.npz`` and, where they exist, ``metrics.csv``, ``card.json``
    and ``certified.json``. ``origin``: ``logs`` of this computer, or a committed row of the repository.
    ``weights``: SHA-256 of the weights that were scored; empty where it was not written. ``shipped``: whether
    they are in ``checkpoints/pretrained``.
    """

    name: str
    folder: Path
    origin: str
    weights: str = ""
    shipped: bool = False

    @property
    def label(self) -> str:
        """Short line for a list."""
        if self.origin == "logs":
            return self.name
        return f"{self.name} ({'published' if self.shipped else 'not shipped'}, {self.origin})"

    def report(self) -> dict[str, Any]:
        """Content of ``test.json``."""
        report = read_json(self.folder / "test.json", "score the run again")
        if not isinstance(report, dict) or not isinstance(report.get("metrics"), dict):
            raise DataError(f"{self.folder / 'test.json'} has no metrics: score the run again")
        return report

    def certified(self) -> dict[str, Any] | None:
        """Content of ``certified.json``; None where thresholds were not certified."""
        path = self.folder / "certified.json"
        return read_json(path, "certify the run again") if path.exists() else None


def find_scored(output_dir: str | Path = ".", rows: Path = ROWS) -> list[ScoredRun]:
    """Scored classifiers: those of ``logs/``, then the committed rows of the repository."""
    bases = {"logs": Path(output_dir) / "logs"} | {folder: rows / folder for folder in _ROW_FOLDERS}
    found = [
        ScoredRun(path.parent.relative_to(bases[origin]).as_posix(), path.parent, origin)
        for path, origin in scored_files(output_dir, rows)
    ]
    shipped = _shipped_weights()
    return [run for run in (_with_weights(run, shipped) for run in found) if run is not None]


def scored_files(output_dir: str | Path = ".", rows: Path = ROWS) -> list[tuple[Path, str]]:
    """``test.json`` of each scored run with predictions, and its origin."""
    logs = Path(output_dir) / "logs"
    found = [(path, "logs") for path in sorted([*logs.glob("*/test.json"), *logs.glob("*/*/test.json")])]
    for folder in _ROW_FOLDERS:
        found += [(path, folder) for path in sorted((rows / folder).glob("*/test.json"))]
    return [(path, origin) for path, origin in found if (path.parent / "predictions.npz").exists()]


def usual_run(runs: Sequence[ScoredRun], weights: Collection[str]) -> int:
    """Position of the run that is shown first: one of these weights, else of shipped ones, else the first."""
    chosen = (i for i, run in enumerate(runs) if run.weights and run.weights in weights)
    shipped = (i for i, run in enumerate(runs) if run.shipped)
    return next(chosen, next(shipped, 0))


def _shipped_weights() -> set[str]:
    folder = ROOT / "checkpoints" / "pretrained"
    found = set()
    for path in folder.glob("*/card.json"):
        with suppress(TwelveLeadError):  # the list of models says what is wrong with it
            found.add(str(read_json(path)["weights_sha256"]))
    return found


def _with_weights(run: ScoredRun, shipped: Collection[str]) -> ScoredRun | None:
    """A run with what its report says of its weights; None where it does not classify."""
    try:
        report = run.report()
    except TwelveLeadError:
        return run  # listed, so that the page can say what is wrong with it
    if "class_roc_auc" not in report["metrics"]:
        return None
    weights = str((report.get("checkpoint") or {}).get("weights_sha256", ""))
    return replace(run, weights=weights, shipped=weights in shipped)


# ---- metrics ---------------------------------------------------------------------------------------


def headlines(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and 95 % interval of the scores that stand on top."""
    intervals = (report.get("bootstrap") or {}).get("intervals") or {}
    lines = []
    for key, title in _HEADLINES.items():
        value = report["metrics"].get(key)
        if value is not None:
            lines.append((title, f"{value:.4f}", _interval(intervals.get(key))))
    return lines


def class_table(report: dict[str, Any]) -> pd.DataFrame:
    """A row for each class: how many records have it, and its scores with the interval of its ROC-AUC."""
    metrics = report["metrics"]
    intervals = ((report.get("bootstrap") or {}).get("intervals") or {}).get("class_roc_auc") or {}
    columns = {
        "positives": "class_counts",
        "ROC-AUC": "class_roc_auc",
        "AUPRC": "class_auprc",
        "threshold": "thresholds",
        "F1": "class_f1_at_thresholds",
        "accuracy": "class_accuracy_at_thresholds",
        "Brier score": "class_brier",
        "ECE": "class_ece",
    }
    rows = []
    for name in metrics["class_counts"]:
        row = {"class": name}
        for title, key in columns.items():
            value = (metrics.get(key) or {}).get(name)
            row[title] = value if value is None or title == "positives" else round(float(value), 4)
            if title == "ROC-AUC":
                row["95 % interval"] = _interval(intervals.get(name))
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _interval(entry: dict[str, Any] | None) -> str:
    if not entry or entry.get("low") is None:
        return ""
    return f"{entry['low']:.3f} to {entry['high']:.3f}"


def training_curves(run: ScoredRun) -> dict[str, pd.DataFrame]:
    """Losses and scores by epoch; empty where the run's ``metrics.csv`` is absent."""
    path = run.folder / "metrics.csv"
    if not path.exists():
        return {}
    try:
        table = pd.read_csv(path).set_index("epoch")
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is not a table of epochs: train the run again") from error
    losses = [name for name in ("train_loss", "val_loss") if name in table]
    scores = [name for name in table if name.startswith("val_") and name not in losses]
    return {title: table[names] for title, names in (("Loss", losses), ("Score", scores)) if names}


# ---- errors ----------------------------------------------------------------------------------------


def predictions_of(run: ScoredRun) -> Predictions:
    """Predictions of a scored run."""
    return scored_predictions(str(run.folder / "predictions.npz"))


def thresholds_of(run: ScoredRun, classes: Sequence[str]) -> np.ndarray:
    """Thresholds that the run was scored with, in the order of the classes, (C,)."""
    known = run.report()["metrics"].get("thresholds") or {}
    return np.array([float(known.get(name, 0.5)) for name in classes])


def find_errors(
    predictions: Predictions, thresholds: np.ndarray, kind: str, class_name: str = ANY_CLASS, most: int = 50
) -> pd.DataFrame:
    """Records of one kind, the most telling first: a row for each record and class.

    ``margin``: probability minus threshold. Near-threshold records are listed whether right or wrong.

    Raises
    ------
    UsageError
        Unknown kind or class.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind of error '{kind}': use {', '.join(KINDS)}")
    if class_name not in (ANY_CLASS, *predictions.classes):
        raise UsageError(f"unknown class '{class_name}': use {', '.join(predictions.classes)}")
    margin = predictions.probabilities - thresholds
    present, positive = predictions.labels.astype(bool), margin >= 0
    wanted = {
        KINDS[0]: np.ones_like(present),
        KINDS[1]: present & ~positive,
        KINDS[2]: ~present & positive,
        KINDS[3]: present != positive,
    }[kind]
    if class_name != ANY_CLASS:
        wanted = wanted & (np.array(predictions.classes) == class_name)
    rows, columns = np.nonzero(wanted)
    size = np.abs(margin[rows, columns])
    order = np.argsort(size if kind == KINDS[0] else -size, kind="stable")[:most]
    rows, columns = rows[order], columns[order]
    return pd.DataFrame(
        {
            "record": predictions.ids[rows],
            "class": np.array(predictions.classes)[columns],
            "true label": np.where(present[rows, columns], "yes", "no"),
            "answer": np.where(positive[rows, columns], "yes", "no"),
            "probability": predictions.probabilities[rows, columns].round(4),
            "threshold": thresholds[columns].round(4),
            "margin": margin[rows, columns].round(4),
        }
    )


def wrong_records(
    predictions: Predictions, thresholds: np.ndarray, class_name: str | None = None
) -> list[int]:
    """Sorted ids of records with a wrong answer in a class, or in any."""
    wrong = predictions.labels.astype(bool) != (predictions.probabilities >= thresholds)
    if class_name is not None:
        wrong = wrong & (np.array(predictions.classes) == class_name)
    return sorted(int(i) for i in predictions.ids[wrong.any(axis=1)])


def error_counts(predictions: Predictions, thresholds: np.ndarray) -> pd.DataFrame:
    """Right and wrong answers of each class, with sensitivity and specificity."""
    present, positive = predictions.labels.astype(bool), predictions.probabilities >= thresholds
    hits, misses = (present & positive).sum(0), (present & ~positive).sum(0)
    alarms, rejected = (~present & positive).sum(0), (~present & ~positive).sum(0)
    with np.errstate(invalid="ignore"):
        sensitivity, specificity = hits / (hits + misses), rejected / (rejected + alarms)
    return pd.DataFrame(
        {
            "class": predictions.classes,
            "true positives": hits,
            "false negatives": misses,
            "false positives": alarms,
            "true negatives": rejected,
            "sensitivity": sensitivity.round(4),
            "specificity": specificity.round(4),
        }
    )


def curves(predictions: Predictions, class_name: str) -> dict[str, pd.DataFrame]:
    """ROC, precision-recall and calibration curves of one class."""
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    column = predictions.classes.index(class_name)
    labels, scores = predictions.labels[:, column], predictions.probabilities[:, column]
    if labels.min() == labels.max():
        raise UsageError(f"all records or none have {class_name}: it has no curves")
    false_alarms, hits, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    observed, predicted = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    return {
        "ROC": pd.DataFrame({"1 - specificity": false_alarms, "sensitivity": hits}),
        "Precision and recall": pd.DataFrame({"recall": recall, "precision": precision}),
        "Calibration": pd.DataFrame({"predicted probability": predicted, "share with the class": observed}),
    }

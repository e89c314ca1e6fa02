"""1000 bootstrap resamples of macro ROC-AUC: one sort for all of them beside scikit-learn each time."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured
from utils.errors import DataError

_PLAIN_RESAMPLES = 20
_SHAPES = {"303 x 5": (303, 5), "2203 x 71": (2203, 71)}


def _noise(records: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of PTB-XL's rarity (1 to 40 % positive) and predictions that know something about them."""
    rng = np.random.default_rng(0)
    labels = rng.random((records, classes)) < np.geomspace(0.4, 0.01, classes)
    return labels.astype(np.uint8), np.round((rng.random(labels.shape) + labels) / 2, 6)


def _read(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a predictions.npz of test.py, or y_true and y_prob of another .npz."""
    with np.load(path, allow_pickle=False) as file:
        for labels, probabilities in (("label", "probability"), ("y_true", "y_prob")):
            if labels in file and probabilities in file:
                return file[labels].astype(np.uint8), file[probabilities]
        raise DataError(f"{path} has no arrays label and probability; it has {', '.join(file.files)}")


def _scores(source: str) -> tuple[np.ndarray, np.ndarray]:
    return _noise(*_SHAPES[source]) if source in _SHAPES else _read(source)


def ours(source: str, resamples: int) -> dict[str, Any]:
    """Call `utils.bootstrap.bootstrap`."""
    from utils.bootstrap import bootstrap

    labels, probabilities = _scores(source)
    patients = np.arange(len(labels))
    metrics = ("macro_roc_auc",)
    job = partial(bootstrap, labels, probabilities, patients, metrics=metrics, resamples=resamples)
    return {"cpu_seconds": cpu_seconds(job)}


def plain(source: str, resamples: int) -> dict[str, Any]:
    """Call `sklearn.metrics.roc_auc_score` on every resample that keeps every class."""
    from sklearn.metrics import roc_auc_score

    labels, probabilities = _scores(source)
    rng = np.random.default_rng(0)
    drawn: list[np.ndarray] = []
    while len(drawn) < resamples:
        rows = rng.integers(len(labels), size=len(labels))
        if labels[rows].any(axis=0).all() and not labels[rows].all(axis=0).any():
            drawn.append(rows)

    def job() -> list[float]:
        return [roc_auc_score(labels[rows], probabilities[rows], average="macro") for rows in drawn]

    return {"cpu_seconds": cpu_seconds(job)}


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure both ways."""
    report, resamples = {}, options.resamples
    for source in [*_SHAPES, *([options.predictions] if options.predictions else [])]:
        fast = measured("resampling:ours", source=source, resamples=resamples)
        slow = measured("resampling:plain", source=source, resamples=_PLAIN_RESAMPLES)
        extrapolated = slow["cpu_seconds"] * resamples / _PLAIN_RESAMPLES
        if source in _SHAPES:
            label = f"{source}, synthetic"
        else:
            records, classes = _read(source)[0].shape
            label = f"{records} x {classes}, real predictions"
        report[label] = {
            "ours_cpu_seconds": round(fast["cpu_seconds"], 3),
            "ours_peak_rss_mb": fast["peak_rss_mb"],
            "plain_cpu_seconds_extrapolated": round(extrapolated, 2),
            "plain_peak_rss_mb": slow["peak_rss_mb"],
            "ratio": round(extrapolated / fast["cpu_seconds"], 1),
        }
    return {"resamples": resamples, "plain_resamples": _PLAIN_RESAMPLES, "shapes": report}

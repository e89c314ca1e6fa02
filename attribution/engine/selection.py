"""Which windows are explained, and for which class."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from explain.engine.classifier import Classifier
from preprocessing.splits import fold_names
from preprocessing.windows import Windows
from utils.errors import DataError, UsageError, nearest

_log = logging.getLogger(__name__)

# Probability above which a window is explained: the study's values, and 0.5 where it has none.
THRESHOLDS = {"mitdb": 0.75, "ptbxl": 0.75, "svdb": 0.9, "incartdb": 0.9, "icentia11k": 0.9}
_BATCH = 32


@dataclass(frozen=True)
class Selection:
    """Explained windows.

    ``rows`` (n,): rows of the windows' file.
    ``targets`` (n,): explained class of each.
    ``probability`` (n,): the model's probability of that class.
    """

    rows: np.ndarray
    targets: np.ndarray
    probability: np.ndarray


def check_fit(windows: Windows, classifier: Classifier) -> None:
    """Refuse a model that cannot read these windows."""
    both = {
        "classes": (list(windows.classes), list(classifier.classes)),
        "leads": (list(windows.leads), list(classifier.leads)),
        "sampling rate": (windows.sampling_rate, classifier.sampling_rate),
        "samples": (windows.signals.shape[1], classifier.samples),
    }
    for what, (have, expected) in both.items():
        if have != expected:
            have, expected = (", ".join(v) if isinstance(v, list) else v for v in (have, expected))
            raise DataError(
                f"model '{classifier.name}' does not fit the windows of '{windows.name}': their {what}: "
                f"{have}; the model's: {expected}. Build fitting windows, or choose another model"
            )
    _check_split(windows, classifier)


def _check_split(windows: Windows, classifier: Classifier) -> None:
    """Refuse a model of k-fold on windows with other splits: it was trained on some of their test part."""
    settings = classifier.card.config
    if settings.get("split") != "kfold":
        return
    folds, fold = settings["folds"], settings["fold"]
    trained_on = settings.get("dataset") or settings.get("database")
    if trained_on == windows.name and windows.split_names != fold_names(folds, fold):
        raise DataError(
            f"model '{classifier.name}' was trained on other splits of '{windows.name}' than these windows "
            f"have: build them with --split kfold --folds {folds} --fold {fold}"
        )


def select_windows(
    windows: Windows,
    classifier: Classifier,
    threshold: float,
    target: str = "",
    limit: int = 0,
    seed: int = 0,
) -> Selection:
    """Choose test windows whose label the model gives a high probability: one entry per window and label.

    Logs which of the explained classes have no such window.
    """
    explained = [i for i, name in enumerate(windows.classes) if name not in windows.normal]
    if target:
        explained = [_class_number(windows, target)]
    labeled = (windows.splits == "test")[:, None] & (windows.labels == 1)
    rows, targets = np.nonzero(labeled & np.isin(np.arange(len(windows.classes)), explained))
    names = ", ".join(windows.classes[c] for c in explained)
    if not len(rows):
        raise DataError(f"'{windows.name}' has no test window labeled {names}: nothing to explain")
    probability = _probabilities(windows, classifier, rows, targets)
    sure = probability > threshold
    missed = [c for c in explained if (targets == c).any() and not sure[targets == c].any()]
    largest = [
        f"{windows.classes[c]} {probability[targets == c].max():.3f} ({(targets == c).sum()} windows)"
        for c in missed
    ]
    if not sure.any():
        raise DataError(
            f"model '{classifier.name}' gives no window of '{windows.name}' a probability of its label "
            f"above {threshold:g}; the largest: {', '.join(largest)}. Lower --prob_threshold or train longer"
        )
    if missed:
        _log.info(
            f"not explained, the probability is never above {threshold:g}; at most: {', '.join(largest)}"
        )
    rows, targets, probability = rows[sure], targets[sure], probability[sure]
    if limit and limit < len(rows):
        kept = _evenly(windows.patients[rows], targets, limit, seed)
        rows, targets, probability = rows[kept], targets[kept], probability[kept]
    return Selection(rows.astype(np.int64), targets.astype(np.int64), probability)


def _class_number(windows: Windows, target: str) -> int:
    if target in windows.classes:
        return windows.classes.index(target)
    if target.isdecimal() and int(target) < len(windows.classes):
        return int(target)
    raise UsageError(f"--target_label '{target}' is not a class: {nearest(target, windows.classes)}")


def _probabilities(
    windows: Windows, classifier: Classifier, rows: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Probability of its target for each entry; every window passes the model once."""
    needed, place = np.unique(rows, return_inverse=True)
    parts = []
    for start in tqdm(
        range(0, len(needed), _BATCH), desc="classifying", unit="batch", leave=False, disable=None
    ):
        x = classifier.standardize(windows.signals[needed[start : start + _BATCH]])
        parts.append(classifier.probabilities(classifier.logits(x, _BATCH)))
    return np.concatenate(parts)[place, targets].astype(np.float32)


def _evenly(patients: np.ndarray, targets: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Places of `limit` entries: classes and patients take turns, the order within each is drawn."""
    order = np.random.default_rng([seed, 2]).permutation(len(patients))
    order = order[np.argsort(turns(patients[order], targets[order]), kind="stable")]
    order = order[np.lexsort((targets[order], turns(targets[order])))]
    return np.sort(order[:limit])


def turns(*columns: np.ndarray) -> np.ndarray:
    """For each row the number of earlier rows with the same values; columns (n,) -> (n,)."""
    table = pd.DataFrame(dict(enumerate(columns)))
    return table.groupby(list(table)).cumcount().to_numpy()

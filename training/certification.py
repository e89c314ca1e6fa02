"""Thresholds of a trained classifier that promise a miss rate, label by label, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from training.predictions import Predictions
from utils.errors import UsageError, nearest
from utils.risk_control import certified_threshold, one_record_a_patient, positives_needed

_UNLIKELY = 0.05  # p below which misses on test records speak against a promise


def certify(
    validation: Predictions,
    miss_rate: float = 0.05,
    delta: float = 0.1,
    miss_rates: Mapping[str, float] | None = None,
    labels: Sequence[str] = (),
    per_label: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Certify a threshold for each label that has enough positives, by learn-then-test.

    The promise: a record drawn at random from a random patient with the label is missed (its probability is
    below the threshold) with a probability of at most ``miss_rate``. It holds with probability 1 - ``delta``
    over the validation records, if further patients come from the same population.

    Parameters
    ----------
    validation : Predictions
        For records that the model was not fitted to.
    miss_rate : float
        Largest share of the positives that may be missed, inside (0, 1).
    delta : float
        Probability that one of the promises is broken, inside (0, 1).
    miss_rates : mapping of str to float, optional
        Of labels that need another one.
    labels : sequence of str
        Labels to certify; all by default. Fewer share ``delta``, so that each needs fewer positives.
    per_label : bool
        Give each label the whole ``delta``: each promise holds, but not all at once.
    seed : int
        Of the record that is drawn of a patient with several.

    Returns
    -------
    dict
        JSON values: the settings, and in ``labels`` for each label ``certified``, ``threshold`` (None where
        nothing can be promised), ``miss_rate``, ``positives`` (patients), ``needed``, ``misses``, and
        ``flagged``, the share of the validation records that reach the threshold.

    Raises
    ------
    UsageError
        Unknown labels or impossible rates.
    """
    chosen = list(labels) or list(validation.classes)
    rates = dict.fromkeys(chosen, miss_rate) | dict(miss_rates or {})
    for name in rates:
        if name not in validation.classes:
            raise UsageError(f"unknown label '{name}': {nearest(name, validation.classes)}")
        if name not in chosen:
            raise UsageError(f"'{name}' has a miss rate of its own, but is not among the labels to certify")
    share = delta if per_label else delta / len(chosen)
    entries = {name: _certify_label(validation, name, rates[name], share, seed) for name in chosen}
    card = validation.card
    return {
        "run": validation.name,
        "model": card.name if card else None,
        "task": card.task if card else None,
        "weights_sha256": card.weights_sha256 if card else None,
        "split": validation.split,
        "records": len(validation.ids),
        "patients": len(np.unique(validation.patients)),
        "delta": delta,
        "correction": "none" if per_label else "bonferroni",
        "delta_of_a_label": share,
        "seed": seed,
        "labels": entries,
        "test": None,
    }


def _certify_label(
    validation: Predictions, name: str, miss_rate: float, delta: float, seed: int
) -> dict[str, Any]:
    column = validation.classes.index(name)
    scores, positive = validation.probabilities[:, column], validation.labels[:, column] > 0
    chosen = scores[one_record_a_patient(positive, validation.patients, seed)]
    threshold = certified_threshold(chosen, scores, miss_rate, delta)
    known = threshold is not None
    return {
        "certified": known,
        "threshold": threshold,
        "miss_rate": miss_rate,
        "positives": len(chosen),
        "positive_records": int(positive.sum()),
        "needed": positives_needed(miss_rate, delta),
        "misses": int((chosen < threshold).sum()) if known else None,
        "flagged": float((scores >= threshold).mean()) if known else None,
    }


def check_on_test(certified: Mapping[str, Any], test: Predictions) -> dict[str, Any]:
    """What the certified thresholds miss and flag on records that were not used for them.

    The promise is about the probability of a miss. Few positives may be missed more often
    by chance: a promise counts as broken where that is too unlikely.

    Parameters
    ----------
    certified : mapping
        From `certify`.
    test : Predictions
        Of the same model.

    Returns
    -------
    dict
        ``split``, ``records``, ``above`` (labels whose miss rate seen is above the promised one), ``broken``
        (those with p < 0.05) and in ``labels`` for each certified label ``positives`` (patients),
        ``miss_rate`` (mean over patients of the share of their positive records that is missed; None without
        any), ``p`` (probability of as many misses, or more, at the promised rate, among one record a patient)
        and ``flagged``.

    Raises
    ------
    UsageError
        The predictions are of other weights.
    """
    sha256 = certified["weights_sha256"]
    if sha256 and test.card is not None and test.card.weights_sha256 != sha256:
        raise UsageError(
            f"the test records of '{test.name}' were scored with other weights: score the run again"
        )
    entries = {name: entry for name, entry in certified["labels"].items() if entry["certified"]}
    labels = {name: _check_label(name, entry, test, certified["seed"]) for name, entry in entries.items()}
    above = [name for name, seen in labels.items() if (seen["miss_rate"] or 0) > entries[name]["miss_rate"]]
    broken = [name for name in above if labels[name]["p"] < _UNLIKELY]
    return {
        "split": test.split,
        "records": len(test.ids),
        "above": above,
        "broken": broken,
        "labels": labels,
    }


def _check_label(name: str, entry: Mapping[str, Any], test: Predictions, seed: int) -> dict[str, Any]:
    column = test.classes.index(name)
    reached = test.probabilities[:, column] >= entry["threshold"]
    positive = test.labels[:, column] > 0
    owners, number = np.unique(test.patients[positive], return_inverse=True)
    missed = np.bincount(number, ~reached[positive], len(owners))
    rates = missed / np.maximum(np.bincount(number, minlength=len(owners)), 1)
    single = int((~reached[one_record_a_patient(positive, test.patients, seed)]).sum())
    return {
        "positives": len(owners),
        "miss_rate": float(rates.mean()) if len(owners) else None,
        "p": float(stats.binom.sf(single - 1, len(owners), entry["miss_rate"])),
        "flagged": float(reached.mean()),
    }


def decision_with(decision: Mapping[str, Any] | None, certified: Mapping[str, Any]) -> dict[str, Any]:
    """The decision of a card with the certified thresholds, for `Task.describe`.

    Parameters
    ----------
    decision : mapping or None
        As the card has it.
    certified : mapping
        From `certify`.

    Returns
    -------
    dict
        The decision with ``certified``: ``confidence``, ``all_at_once`` (whether it is that of all promises
        together), ``chosen_on`` and for each label in ``classes`` its ``threshold`` and ``miss_rate``.
    """
    classes = {
        name: {"threshold": entry["threshold"], "miss_rate": entry["miss_rate"]}
        for name, entry in certified["labels"].items()
        if entry["certified"]
    }
    promise = {
        "confidence": round(1 - certified["delta"], 12),
        "all_at_once": certified["correction"] == "bonferroni",
        "chosen_on": certified["split"],
        "classes": classes,
    }
    return {**(decision or {}), "certified": promise}

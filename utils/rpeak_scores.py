"""Scores of R-peaks: matching with a tolerance, F1 with intervals over patients, the CPSC2019 score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.bootstrap import interval_of_sums
from utils.errors import DataError

CPSC2019_SPAN_S = (0.5, 9.5)  # of its records of 10 s, the part that is scored


def match_peaks(reference: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Pair ascending reference and found peaks, each the other's nearest within `tolerance` samples.

    Returns positions in ``reference`` and in ``found``, (pairs, 2).
    """
    reference, found = _ascending(reference, "reference"), _ascending(found, "found")
    if len(reference) == 0 or len(found) == 0:
        return np.empty((0, 2), np.int64)
    forth, back = _nearest(reference, found), _nearest(found, reference)
    rows = np.flatnonzero(back[forth] == np.arange(len(reference)))
    pairs = np.stack([rows, forth[rows]], axis=1)
    return pairs[np.abs(reference[pairs[:, 0]] - found[pairs[:, 1]]) <= tolerance]


def rpeak_scores(
    references: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    rate: float,
    tolerances_ms: Sequence[float] = (150, 75, 25),
    spans: Sequence[tuple[float, float]] | None = None,
    patients: Sequence[object] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Score the R-peaks of several records together, each ascending sample numbers at `rate` Hz.

    ``spans``: for each record the first and the last sample that count: a reference peak outside is left out,
        with what was found for it. Without: all.
    ``patients``: patient of each record, for the intervals; without, every record is of another patient.

    Gives for each tolerance (``"75"``) ``sensitivity``, ``ppv``, ``f1``, its 95 % interval ``f1_low`` and
    ``f1_high``, ``tp``, ``fp``, ``fn``, and ``median_error_ms`` of the pairs.
    """
    spans = [(-np.inf, np.inf)] * len(references) if spans is None else spans
    persons = np.arange(len(references)) if patients is None else np.asarray(patients)
    if not len(references) == len(found) == len(spans) == len(persons):
        raise DataError(
            f"{len(references)} reference records, {len(found)} found, {len(spans)} spans, "
            f"{len(persons)} patients"
        )
    records = [_paired(*record) for record in zip(references, found, spans, strict=True)]
    result = {}
    for tolerance in tolerances_ms:
        counts, errors = [], []
        reach = tolerance * rate / 1000
        for expected, given in records:
            near = expected[expected <= reach]
            counts.append((len(near), (given > reach).sum(), len(expected) - len(near)))
            errors.append(near * 1000 / rate)
        interval = interval_of_sums(np.array(counts), f1_of_counts, persons, resamples, seed)
        tp, fp, fn = total = np.sum(counts, axis=0)
        result[f"{tolerance:g}"] = {
            "sensitivity": float(tp / max(tp + fn, 1)),
            "ppv": float(tp / max(tp + fp, 1)),
            "f1": float(f1_of_counts(total)),
            "f1_low": interval["low"],
            "f1_high": interval["high"],
            "tp": int(tp),
            "fp": int(fp),
            "fn": int(fn),
            "median_error_ms": float(np.median(np.concatenate(errors))) if tp else float("nan"),
        }
    return result


def tolerance_curve(
    references: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    rate: float,
    tolerances_ms: Sequence[float] = tuple(range(0, 155, 5)),
    **how: Any,
) -> dict[str, np.ndarray]:
    """Scores of `rpeak_scores` over tolerances: how exactly R-peaks are placed.

    ``how``: spans, patients, resamples and seed, as `rpeak_scores` takes them.

    Gives ``tolerance_ms`` and every score of `rpeak_scores`, each an array with one value a tolerance.
    """
    scores = rpeak_scores(references, found, rate, tolerances_ms, **how)
    rows = [scores[f"{tolerance:g}"] for tolerance in tolerances_ms]
    curves = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    return {"tolerance_ms": np.array(tolerances_ms, np.float64), **curves}


def cpsc2019_score(
    references: Sequence[np.ndarray], found: Sequence[np.ndarray], rate: float, tolerance_s: float = 0.075
) -> np.ndarray:
    """QRS score of the China Physiological Signal Challenge 2019 for each record of 10 s.

    1 without an error, 0.3 with one beat missed, 0.7 with one false beat, else 0, counted between 0.5 and
    9.5 s. The challenge's figure is the mean; `utils.bootstrap.interval_of_mean` gives its interval.

    Gao et al., An open-access ECG database for algorithm evaluation of QRS detection and heart rate
    estimation, J. Med. Imaging Health Inform. 9, 1853 (2019), doi:10.1166/jmihi.2019.2800.
    """
    start, stop = CPSC2019_SPAN_S[0] * rate, CPSC2019_SPAN_S[1] * rate
    reach, scores = tolerance_s * rate, []
    for reference, peaks in zip(references, found, strict=True):
        reference = np.asarray(reference)[(np.asarray(reference) >= start) & (np.asarray(reference) <= stop)]
        near = np.abs(np.subtract.outer(reference, np.asarray(peaks))) <= reach  # (reference, found)
        missed = int((~near.any(axis=1)).sum())
        inner = (np.asarray(peaks) >= start + reach) & (np.asarray(peaks) <= stop - reach)
        false = int((inner & ~near.any(axis=0)).sum() + np.maximum(near.sum(axis=1) - 1, 0).sum())
        scores.append({(0, 0): 1.0, (1, 0): 0.3, (0, 1): 0.7}.get((missed, false), 0.0))
    return np.asarray(scores)


def _ascending(peaks: np.ndarray, what: str) -> np.ndarray:
    peaks = np.asarray(peaks)
    if (np.diff(peaks) <= 0).any():
        raise DataError(f"the {what} peaks are not ascending")
    return peaks


def _nearest(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Position in ``among`` (ascending) of what is nearest to each value; the earlier one of two."""
    right = np.clip(np.searchsorted(among, values), 1, max(len(among) - 1, 1))
    right = np.minimum(right, len(among) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(values - among[left] <= among[right] - values, left, right)


def _paired(
    reference: np.ndarray, found: np.ndarray, span: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the reference and of the found peaks that count to what they are paired with, else inf."""
    reference, found = np.asarray(reference), np.asarray(found)
    pairs = match_peaks(reference, found, np.inf)
    distances = np.abs(reference[pairs[:, 0]] - found[pairs[:, 1]])
    result = []
    for peaks, own in ((reference, pairs[:, 0]), (found, pairs[:, 1])):
        nearest = np.full(len(peaks), np.inf)
        nearest[own] = distances
        result.append(nearest[(peaks >= span[0]) & (peaks <= span[1])])
    return result[0], result[1]


def f1_of_counts(counts: np.ndarray) -> np.ndarray:
    """F1 of counts (..., 3); NaN where there is nothing to find and nothing found."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    whole = 2 * tp + fp + fn
    return np.divide(2 * tp, whole, out=np.full_like(whole, np.nan), where=whole > 0)

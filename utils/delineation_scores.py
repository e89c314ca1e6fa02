"""Scores of wave delineation: onsets and offsets of P, QRS and T found within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from utils.bootstrap import interval_of_sums
from utils.errors import DataError
from utils.metrics import macro
from utils.rpeak_scores import f1_of_counts, match_peaks


def delineation_scores(
    references: Sequence[dict[str, np.ndarray]],
    found: Sequence[dict[str, np.ndarray]],
    rate: float,
    tolerance_s: float | Mapping[str, float] = 0.15,
    patients: Sequence[object] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Score boundaries of waves, all records together.

    Parameters
    ----------
    references, found : sequence of dict
        For each record and lead: kind of wave (``"P"``, ``"QRS"``, ``"T"``) -> its waves, an array (W, 2) of
        first and last samples, ascending.
    rate : float
        Sampling rate in Hz.
    tolerance_s : float or mapping, optional
        Largest distance of a boundary that counts as found, in seconds (ANSI/AAMI EC57: 0.15); or one for
        each boundary, such as ``{"P onset": 0.05, "T offset": 0.1}``.
    patients : sequence, optional
        Patient of each record, for the intervals; without, every record is of another patient.
    resamples, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    dict
        For each kind and end (``"QRS onset"``, ``"T offset"``) ``sensitivity``, ``ppv``, ``f1`` and its 95 %
        interval ``f1_low`` to ``f1_high``, ``tp``, ``fp``, ``fn``, and ``mean_error_ms`` and ``sd_error_ms``
        of the pairs (found minus reference).

    Raises
    ------
    DataError
        If there are not equally many records, a boundary has no tolerance, or waves have another shape or
        order.
    """
    if len(references) != len(found):
        raise DataError(f"{len(references)} records with reference waves, {len(found)} with found ones")
    kinds = list(dict.fromkeys(kind for record in references for kind in record))
    result = {}
    for kind in kinds:
        for column, end in enumerate(("onset", "offset")):
            reach = _tolerance(tolerance_s, f"{kind} {end}") * rate
            counts, errors = [], []
            for reference, waves in zip(references, found, strict=True):
                expected, given = _ends(reference, kind, column), _ends(waves, kind, column)
                pairs = match_peaks(expected, given, reach)
                counts.append((len(pairs), len(given) - len(pairs), len(expected) - len(pairs)))
                errors.append((given[pairs[:, 1]] - expected[pairs[:, 0]]) * 1000 / rate)
            interval = interval_of_sums(np.array(counts), f1_of_counts, patients, resamples, seed)
            tp, fp, fn = (int(count) for count in np.sum(counts, axis=0))
            distances = np.concatenate(errors)
            result[f"{kind} {end}"] = {
                "sensitivity": tp / max(tp + fn, 1),
                "ppv": tp / max(tp + fp, 1),
                "f1": 2 * tp / max(2 * tp + fp + fn, 1),
                "f1_low": interval["low"],
                "f1_high": interval["high"],
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "mean_error_ms": float(distances.mean()) if tp else float("nan"),
                "sd_error_ms": float(distances.std()) if tp else float("nan"),
            }
    return result


def mean_of_boundaries(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over the boundaries of what `delineation_scores` gives.

    Parameters
    ----------
    scores : mapping
        For each boundary its scores.

    Returns
    -------
    dict of str to float
        ``sensitivity``, ``ppv``, ``f1``, ``mean_error_ms`` and ``sd_error_ms``, each over the boundaries
        where it is defined; NaN where it is nowhere.
    """
    names = ("sensitivity", "ppv", "f1", "mean_error_ms", "sd_error_ms")
    return {name: macro(np.array([row[name] for row in scores.values()], np.float64)) for name in names}


def _tolerance(tolerance_s: float | Mapping[str, float], boundary: str) -> float:
    if not isinstance(tolerance_s, Mapping):
        return tolerance_s
    if boundary not in tolerance_s:
        raise DataError(f"no tolerance for {boundary}: there are {', '.join(tolerance_s)}")
    return tolerance_s[boundary]


def waves_of_mask(mask: np.ndarray, kinds: dict[str, int]) -> dict[str, np.ndarray]:
    """Find the waves of a mask: stretches of one class.

    Parameters
    ----------
    mask : numpy.ndarray
        Shape (T,): class of each sample.
    kinds : dict of str to int
        Kind of wave -> its class.

    Returns
    -------
    dict of str to numpy.ndarray
        For each kind an array (W, 2): first and last sample of each wave.

    Raises
    ------
    DataError
        If the mask has more than one axis.
    """
    if np.ndim(mask) != 1:
        raise DataError(f"a mask has one class for each sample, shape (T,), not {np.shape(mask)}")
    waves = {}
    for kind, number in kinds.items():
        edges = np.diff(np.r_[0, (np.asarray(mask) == number).astype(np.int8), 0])
        waves[kind] = np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], axis=1)
    return waves


def sample_jaccard(reference: np.ndarray, found: np.ndarray, number: int) -> float:
    """Shared samples of a class in two masks, over the samples of either; NaN where neither has any."""
    a, b = np.asarray(reference) == number, np.asarray(found) == number
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else float("nan")


def _ends(waves: dict[str, np.ndarray], kind: str, column: int) -> np.ndarray:
    values = np.asarray(waves.get(kind, np.empty((0, 2), int)))
    if values.ndim != 2 or values.shape[1] != 2:
        raise DataError(
            f"waves {kind} have shape {values.shape}, expected (waves, 2): first and last samples"
        )
    return values[:, column]

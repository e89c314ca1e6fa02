"""Thresholds with a guarantee: at most a share ``miss_rate`` of the positives lies below them.

Learn-then-test: every threshold is a hypothesis ("it misses more"), tested with an exact binomial p-value on
records that the model was not fitted to, from the lowest threshold upwards until the first that cannot be
rejected. Misses never decrease along that sequence, so the last rejected threshold is the answer, and each
further level between two scores gives the same decisions as the score above it: the sequence of all real
numbers is tested by looking at the sorted scores of the positives alone.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from utils.errors import UsageError
from utils.scorer import patient_numbers


def positives_needed(miss_rate: float, delta: float) -> int:
    """Number of positives from which on a guarantee can be given at all: ``(1 - miss_rate)**n <= delta``."""
    _check(miss_rate, delta)
    return math.ceil(math.log(delta) / math.log1p(-miss_rate) - 1e-12)


def misses_allowed(positives: int, miss_rate: float, delta: float) -> int:
    """Most misses among independent positives that still reject a larger miss rate; -1 where none do."""
    _check(miss_rate, delta)
    rejected = stats.binom.cdf(np.arange(positives + 1), positives, miss_rate) <= delta
    return int(rejected.sum()) - 1  # the p-value grows with the misses


def certified_threshold(
    positives: np.ndarray, scores: np.ndarray, miss_rate: float = 0.05, delta: float = 0.1
) -> float | None:
    """Highest threshold whose miss rate is at most ``miss_rate``, with probability at least 1 - ``delta``.

    A record is flagged where its score is at least the threshold. The threshold lies halfway to the next
    lower score, so that rounding cannot make a flagged record a miss.

    ``positives``: scores of independent positives, one a patient (`one_record_a_patient`), P of them.
    ``scores``: those of all records, for the distance to the next lower one, N of them.

    Returns None where there are too few positives, see `positives_needed`.

    Shapes: positives (P,), scores (N,).

    Angelopoulos et al., Annals of Applied Statistics 19 (2025), doi:10.1214/24-AOAS1998 (arXiv:2110.01052).
    """
    ordered = np.sort(np.asarray(positives, np.float64))
    misses = misses_allowed(len(ordered), miss_rate, delta)
    if misses < 0:
        return None
    score = ordered[misses]  # of a tie, fewer lie below: the promise holds all the more
    lower = np.asarray(scores, np.float64)[np.asarray(scores) < score]
    return float((score + (lower.max() if lower.size else 0.0)) / 2)


def one_record_a_patient(positive: np.ndarray, patient_ids: np.ndarray, seed: int = 0) -> np.ndarray:
    """Choose one positive record of each patient who has any, at random; their rows.

    Records of one patient resemble each other, and a binomial test counts independent ones.

    Shapes: positive (N,), patient_ids (N,).
    """
    positive = np.asarray(positive, bool)
    patients = patient_numbers(patient_ids, len(positive))
    order = np.random.default_rng(seed).permutation(len(positive))
    order = order[positive[order]]
    return np.sort(order[np.unique(patients[order], return_index=True)[1]])


def _check(miss_rate: float, delta: float) -> None:
    for name, value in (("miss_rate", miss_rate), ("delta", delta)):
        if not 0 < value < 1:
            raise UsageError(f"{name} must be inside (0, 1), not {value}")

"""Confidence intervals: the bootstrap over patients.

Records of one patient resemble each other, so patients are drawn, not records, and a drawn patient brings all
of its records. A draw that leaves a class without positive or without negative records is rejected and
counted; nothing is filled in for it. Classes that are undefined already without drawing stay out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.errors import DataError, UsageError, nearest
from utils.metrics import macro
from utils.scorer import Scorer, patient_numbers

# Not ECE: chance fills its bins, so nearly every resample has a larger one and the interval misses the point.
METRICS = {
    "macro_roc_auc": lambda half, chosen, w: macro(half.class_roc_auc(w)),
    "class_roc_auc": lambda half, chosen, w: half.class_roc_auc(w),
    "macro_auprc": lambda half, chosen, w: macro(half.class_auprc(w)),
    "class_auprc": lambda half, chosen, w: half.class_auprc(w),
    "mean_accuracy": lambda half, chosen, w: half.class_accuracy(w).mean(),
    "mean_accuracy_at_thresholds": lambda half, chosen, w: chosen.class_accuracy(w).mean(),
    "macro_f1_at_0.5": lambda half, chosen, w: macro(half.class_f1(w)),
    "macro_f1_at_thresholds": lambda half, chosen, w: macro(chosen.class_f1(w)),
    "fmax": lambda half, chosen, w: half.fmax(w),
    "max_f1_reference": lambda half, chosen, w: half.max_f1_reference(w),
    "brier": lambda half, chosen, w: half.class_brier(w).mean(),
    "class_brier": lambda half, chosen, w: half.class_brier(w),
    "log_loss": lambda half, chosen, w: half.class_log_loss(w).mean(),
}
# Of a difference, chance cancels for the most part.
_DIFFERENCES = {**METRICS, "ece": lambda half, chosen, w: half.class_ece(w).mean()}
# Where every resample loses a rare class there is no interval to give; this many draws each settle that.
_DRAWS_PER_RESAMPLE = 100


def bootstrap(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patient_ids: np.ndarray,
    metrics: Sequence[str] = (
        "macro_roc_auc",
        "class_roc_auc",
        "macro_auprc",
        "mean_accuracy",
        "macro_f1_at_0.5",
    ),
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    thresholds: Sequence[float] | np.ndarray | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Percentile intervals of metrics from resampling patients with replacement, as JSON values.

    ``metrics``: keys of `METRICS`, which mean what they mean in `utils.metrics.evaluate`.
    ``resamples``: number of accepted resamples; the same ``seed`` gives the same ones.
    ``level``: share of resamples inside the interval (0.95: from the 2.5 to the 97.5 percentile).
    ``thresholds``: chosen on other records; needed by the metrics that end in ``_at_thresholds``.
    ``classes``: names for the intervals of each class; column numbers without.

    Returns ``intervals``: for each metric ``point``, ``low`` and ``high``, or such an entry for each class
    (None where undefined); ``level``, ``resamples``, ``rejected``, ``records``, ``patients``, ``seed``,
    ``undefined_classes``.

    Shapes: labels (N, C), probabilities (N, C), patient_ids (N,), thresholds (C,).

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), doi:10.1007/978-1-4899-4541-9.
    """
    _check_options(metrics, resamples, level, thresholds)
    half = Scorer(labels, probabilities)
    at_thresholds = half if thresholds is None else Scorer(labels, probabilities, thresholds)
    names = [str(c) for c in (range(half.labels.shape[1]) if classes is None else classes)]
    if len(names) != half.labels.shape[1]:
        raise DataError(f"{len(names)} class names for {half.labels.shape[1]} columns")
    patients = patient_numbers(patient_ids, len(half.labels))
    once = np.ones(len(patients), dtype=np.int64)
    points = {m: np.asarray(METRICS[m](half, at_thresholds, once)) for m in metrics}
    values: dict[str, list] = {m: [] for m in metrics}
    draws, rejected = _resample(half.labels, patients, resamples, seed, names)
    for weights in draws:
        for metric in metrics:
            values[metric].append(METRICS[metric](half, at_thresholds, weights))

    defined = _defined(half.labels)
    intervals: dict[str, Any] = {}
    for metric, point in points.items():
        low, high = _percentiles(np.array(values[metric]), level)
        if point.ndim == 0:
            intervals[metric] = {"point": float(point), "low": float(low), "high": float(high)}
        else:
            columns = zip(names, defined, point.tolist(), low.tolist(), high.tolist(), strict=True)
            intervals[metric] = {
                name: {"point": p, "low": a, "high": b} if known else None for name, known, p, a, b in columns
            }
    return {
        "intervals": intervals,
        "level": level,
        "resamples": resamples,
        "rejected": rejected,
        "records": len(patients),
        "patients": int(patients.max()) + 1,
        "seed": seed,
        "undefined_classes": [name for name, known in zip(names, defined, strict=True) if not known],
    }


def paired_difference(
    labels: np.ndarray,
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    patient_ids: np.ndarray,
    metric: str = "macro_roc_auc",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Difference of one metric between two models on the same records, both scored on the same resamples.

    ``metric``: a single-valued key of `METRICS` that needs no thresholds, or ``ece``.

    Returns ``metric``, ``a``, ``b``, ``difference`` (A minus B), ``low``, ``high``, ``level``, ``resamples``
    and ``rejected`` as JSON values.

    Shapes: labels (N, C), probabilities_a (N, C), probabilities_b (N, C), patient_ids (N,).
    """
    if metric.startswith("class_"):
        raise UsageError(f"'{metric}' has one value for each class; compare a single-valued metric")
    _check_options([metric], resamples, level, None, _DIFFERENCES)
    points, values, rejected = resampled_scores(
        labels, [probabilities_a, probabilities_b], patient_ids, [metric], resamples, seed
    )
    a, b = map(float, points[metric])
    low, high = _percentiles(values[metric][:, 0] - values[metric][:, 1], level)
    return {
        "metric": metric,
        "a": a,
        "b": b,
        "difference": a - b,
        "low": float(low),
        "high": float(high),
        "level": level,
        "resamples": resamples,
        "rejected": rejected,
    }


def resampled_scores(
    labels: np.ndarray,
    probabilities: Sequence[np.ndarray],
    patient_ids: np.ndarray,
    metrics: Sequence[str] = ("macro_roc_auc",),
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Metrics of several models on the same records, and on the same resamples of their patients.

    ``probabilities``: those of M models.
    ``metrics``: keys of `METRICS` that need no thresholds, or ``ece``.

    Returns for each metric its values, (M,) or (M, C), and its resampled values, (resamples, M) or
    (resamples, M, C), and how many resamples were rejected.

    Shapes: labels (N, C), each of probabilities (N, C), patient_ids (N,).
    """
    _check_options(metrics, resamples, 0.95, None, _DIFFERENCES)
    scorers = [Scorer(labels, p) for p in probabilities]
    known = scorers[0].labels
    patients = patient_numbers(patient_ids, len(known))
    names = [str(c) for c in range(known.shape[1])]
    draws, rejected = _resample(known, patients, resamples, seed, names)

    def scores(weights: np.ndarray) -> list[list[Any]]:
        return [[_DIFFERENCES[metric](scorer, scorer, weights) for scorer in scorers] for metric in metrics]

    once = scores(np.ones(len(patients), dtype=np.int64))
    found = [scores(w) for w in tqdm(draws, desc="resample", leave=False, disable=None)]
    points = {metric: np.array(once[i]) for i, metric in enumerate(metrics)}
    values = {metric: np.array([row[i] for row in found]) for i, metric in enumerate(metrics)}
    return points, values, rejected


def _check_options(
    metrics: Sequence[str], resamples: int, level: float, thresholds: Any, known: dict[str, Any] = METRICS
) -> None:
    for metric in metrics:
        if metric not in known:
            raise UsageError(f"unknown metric '{metric}': {nearest(metric, known)}")
        if metric.endswith("_at_thresholds") and thresholds is None:
            raise UsageError(f"'{metric}' needs thresholds: choose them on validation records and pass them")
    if resamples < 2 or not 0 < level < 1:
        raise UsageError(f"resamples must be at least 2 and level inside (0, 1), got {resamples} and {level}")


def _defined(labels: np.ndarray) -> np.ndarray:
    return np.asarray(labels.any(axis=0) & ~labels.all(axis=0))


def _resample(
    labels: np.ndarray, patients: np.ndarray, resamples: int, seed: int, names: Sequence[str]
) -> tuple[list[np.ndarray], int]:
    """Draw the record weights of each accepted resample and count the rejected ones."""
    defined = np.flatnonzero(_defined(labels))
    if not defined.size:
        raise DataError("no class has both positive and negative records: there is nothing to bootstrap")
    count = int(patients.max()) + 1
    positive = np.zeros((count, defined.size))
    np.add.at(positive, patients, labels[:, defined])
    negative = np.bincount(patients)[:, None] - positive
    rng = np.random.default_rng(seed)
    accepted: list[np.ndarray] = []
    for drawn in range(_DRAWS_PER_RESAMPLE * resamples):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)
        if ((weights @ positive > 0) & (weights @ negative > 0)).all():
            accepted.append(weights)
        if len(accepted) == resamples:
            return [weights[patients] for weights in accepted], drawn + 1 - resamples
    fewest = np.minimum((positive > 0).sum(axis=0), (negative > 0).sum(axis=0))
    rare = [f"{names[defined[c]]} ({int(fewest[c])} patients)" for c in np.argsort(fewest)[:5]]
    raise DataError(
        f"only {len(accepted)} of {_DRAWS_PER_RESAMPLE * resamples} resamples kept every class: no interval; "
        f"rarest: {', '.join(rare)}. Evaluate more records or leave the rarest classes out"
    )


def _percentiles(values: np.ndarray, level: float) -> np.ndarray:
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)


def patient_draws(
    records: int,
    patient_ids: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw patients with replacement; without ids, every record is of another patient.

    Returns how often each patient is drawn, (resamples, P), and the number of each record's patient, (N,).
    """
    if resamples < 2:
        raise UsageError(f"resamples must be at least 2, got {resamples}")
    if not records:
        raise DataError("there are no records to score")
    ids = np.arange(records) if patient_ids is None else np.asarray(patient_ids)
    patients = patient_numbers(ids, records)
    count = int(patients.max()) + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), resamples), patients


def resampled_sums(
    parts: np.ndarray,
    patient_ids: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Sums of what each record adds, over the records of drawn patients.

    Shapes: parts (N, ...) -> (resamples, ...).
    """
    parts = np.asarray(parts)
    drawn, patients = patient_draws(len(parts), patient_ids, resamples, seed)
    return np.tensordot(drawn, patient_sums(parts, patients), 1)


def patient_sums(parts: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Sum over the records of each patient, who are numbered from 0.

    Shapes: parts (N, ...), patients (N,) -> (P, ...).
    """
    sums = np.zeros((int(patients.max()) + 1, *parts.shape[1:]))
    np.add.at(sums, patients, parts)
    return sums


def finite_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column without values that are not finite; NaN where none is.

    Shapes: values (resamples, ...) -> (...), (...).
    """
    if not 0 < level < 1:
        raise UsageError(f"level must be inside (0, 1), got {level}")
    columns = np.asarray(values, np.float64).reshape(len(values), -1).T
    finite = [column[np.isfinite(column)] for column in columns]
    none = np.full(2, np.nan)
    bounds = np.array([_percentiles(column, level) if len(column) else none for column in finite])
    low, high = bounds.T.reshape(2, *np.shape(values)[1:])
    return low, high


def interval_of_sums(
    parts: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    patient_ids: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Percentile interval, over patients, of a score that is a function of sums over records.

    ``score``: from sums (..., K) to scores (...); resamples that have none (NaN) are left out.
    ``patient_ids``: patient of each record; without, every record is of another patient.

    Returns ``low`` and ``high``, NaN where no resample has a score.

    Shapes: parts (N, K), patient_ids (N,).
    """
    low, high = finite_interval(score(resampled_sums(parts, patient_ids, resamples, seed)), level)
    return {"low": float(low), "high": float(high)}


def interval_of_mean(
    values: np.ndarray,
    patient_ids: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Percentile interval, over patients, of the mean of a value of each record, as `interval_of_sums`.

    Shapes: values (N,), patient_ids (N,).
    """
    parts = np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)
    return interval_of_sums(
        parts, lambda sums: sums[..., 0] / sums[..., 1], patient_ids, resamples, seed, level
    )

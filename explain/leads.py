"""How much each lead contributes to a prediction: Shapley values of the leads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.predictor import Predictor
from utils.errors import DataError, UsageError, nearest

EFFORTS = {"fast": 4, "medium": 16, "thorough": 64}  # pairs of permutations
_SMALLEST = 1e-7  # of a probability, so that its logit is finite


@dataclass(frozen=True)
class LeadImportance:
    """Shapley values of the leads, in logits of the class, shape (leads,).

    ``error``: standard error of each over the pairs of permutations. ``rank_correlation``: Spearman's,
    between the values of one half of the pairs and of the other (1: the order of the leads is stable).
    ``base`` and ``full``: logits with all leads silenced and with the whole record; the values sum to their
    difference.
    """

    leads: tuple[str, ...]
    values: np.ndarray
    error: np.ndarray
    rank_correlation: float
    base: float
    full: float


def explain_leads(
    predictor: Predictor,
    signal_mv: np.ndarray,
    class_name: str,
    effort: str = "fast",
    seed: int = 0,
    batch_size: int = 32,
) -> LeadImportance:
    """Shapley values of the leads of one record, from random permutations and their reverses.

    A silenced lead lies flat at its median. Castro et al., Polynomial calculation of the Shapley value based
    on sampling, Computers & Operations Research 36, 1726 (2009), doi:10.1016/j.cor.2008.04.004; reverses:
    Mitchell et al., Sampling permutations for Shapley value estimation, JMLR 23 (2022), arXiv:2104.12199.

    Shapes: signal_mv (T, leads).
    """
    if effort not in EFFORTS:
        raise UsageError(f"unknown effort '{effort}': {nearest(effort, EFFORTS)}")
    if class_name not in predictor.classes:
        raise UsageError(f"unknown class '{class_name}': {nearest(class_name, predictor.classes)}")
    signal = np.asarray(signal_mv, dtype=np.float32)
    if signal.ndim != 2:
        raise DataError(f"one record (samples, leads) is explained, got shape {signal.shape}")
    count, pairs = signal.shape[1], EFFORTS[effort]
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(count) for _ in range(pairs)]
    orders = [order for forward in orders for order in (forward, forward[::-1])]
    present = {(False,) * count: 0}  # coalition -> row
    for order in orders:
        for place in range(1, count + 1):
            present.setdefault(tuple(np.isin(np.arange(count), order[:place]).tolist()), len(present))
    logits = _logits(predictor, signal, np.array(list(present)), class_name, batch_size)
    steps = np.zeros((len(orders), count))
    for row, order in enumerate(orders):
        before = logits[0]
        for place, lead in enumerate(order, start=1):
            after = logits[present[tuple(np.isin(np.arange(count), order[:place]).tolist())]]
            steps[row, lead] = after - before
            before = after
    of_pairs = steps.reshape(pairs, 2, count).mean(axis=1)
    half = pairs // 2
    error = of_pairs.std(axis=0, ddof=1) / np.sqrt(pairs)
    full = float(logits[present[(True,) * count]])
    agreement = _rank_correlation(of_pairs[:half].mean(axis=0), of_pairs[half:].mean(axis=0))
    values = of_pairs.mean(axis=0)
    return LeadImportance(tuple(predictor.leads), values, error, agreement, float(logits[0]), full)


def _logits(
    predictor: Predictor, signal: np.ndarray, present: np.ndarray, class_name: str, batch_size: int
) -> np.ndarray:
    """Logit of the class for each coalition of leads; the others lie flat."""
    flat = np.broadcast_to(np.median(signal, axis=0), signal.shape)
    column, logits = predictor.classes.index(class_name), []
    for first in range(0, len(present), batch_size):
        part = present[first : first + batch_size, None, :]
        probabilities = predictor.predict(np.where(part, signal, flat), batch_size)[:, column]
        clipped = np.clip(probabilities.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
        logits.append(np.log(clipped) - np.log1p(-clipped))
    return np.concatenate(logits)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 1.0 if np.array_equal(first, second) else 0.0
    return float(spearmanr(first, second).statistic)

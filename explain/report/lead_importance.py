"""Which leads the model relies on: Shapley values of the leads over some records, and how stable they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from explain.leads import explain_leads
from explain.report.scored import Scored
from training.predictor import Predictor
from utils.ecg import display_name

RECORDS = {"fast": 4, "medium": 8, "thorough": 24}  # of each class
STABLE, OK = 0.25, 0.5  # largest coefficients of variation of these names
COLUMNS = ("class", "lead", "records", "mean", "error", "cv", "verdict")  # of a row
_CLASSES = 8  # the most frequent ones


def lead_importance(
    predictor: Predictor,
    read: Callable[[int], np.ndarray],
    scored: Scored,
    effort: str,
    seed: int = 0,
    most: int = 0,
) -> dict[str, Any]:
    """Mean magnitude of the Shapley values of each lead, in logits, over correctly found records of a class.

    ``most``: records of each class (0: as many as the effort has; otherwise 2 or more).
    ``read``: signal (T, leads) in mV of a row. ``rows``: for each class and lead ``mean`` over the records,
    its standard ``error``, the coefficient of variation ``cv`` (error by mean) and the ``verdict``.
    """
    most = most or RECORDS[effort]
    generator = np.random.default_rng(seed)
    decisions = predictor.task.decode(scored.probabilities, predictor.decision)
    right = scored.labels.astype(bool) & np.asarray(decisions).astype(bool)
    frequent = np.sort(np.argsort(-right.sum(axis=0), kind="stable")[:_CLASSES])
    chosen: list[tuple[str, list[int]]] = []
    for column in frequent.tolist():
        found = np.flatnonzero(right[:, column])
        if len(found) >= 2:
            drawn = np.sort(generator.permutation(found)[:most])
            chosen.append((predictor.classes[column], drawn.tolist()))
    total = sum(len(rows) for _, rows in chosen)
    result: list[dict[str, Any]] = []
    with tqdm(total=total, desc="Shapley values of leads", leave=False, disable=None) as bar:
        for name, rows in chosen:
            values = []
            for row in rows:
                values.append(np.abs(explain_leads(predictor, read(row), name, effort, seed).values))
                bar.update()
            result += _rows(name, predictor.leads, np.array(values))
    return {"effort": effort, "records_per_class": most, "records": total, "rows": result}


def _rows(name: str, leads: list[str], values: np.ndarray) -> list[dict[str, Any]]:
    """A row for each lead; values (records, leads)."""
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    result = []
    for lead, m, e in zip(leads, mean.tolist(), error.tolist(), strict=True):
        cv = e / m if m > 0 else None
        verdict = "NOISY" if cv is None or cv > OK else "OK" if cv > STABLE else "STABLE"
        row = {"class": name, "lead": display_name(lead), "records": len(values)}
        row |= {"mean": round(m, 5), "error": round(e, 5)}
        result.append({**row, "cv": None if cv is None else round(cv, 4), "verdict": verdict})
    return result

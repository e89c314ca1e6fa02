"""Plant a sign of disease in a heart and find the leads in which it is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from databases.synthetic.electrodes import LEAD_FIELD, twelve_leads
from databases.synthetic.heart import Waves, evaluate_beats
from databases.synthetic.pathology import SIGNS
from databases.synthetic.rhythm import BASE_RATE, BEAT_END, BEAT_START
from utils.ecg import LEADS

_VISIBLE = 0.04  # mV: a sign counts as visible in a lead from here


@dataclass(frozen=True)
class PlantedSign:
    """A sign in one heart and the leads in which it is visible."""

    code: str
    severity: float
    visible: dict[str, np.ndarray]


def plant(
    waves: Waves, code: str, severity: float, rng: np.random.Generator, lead_field: np.ndarray = LEAD_FIELD
) -> PlantedSign:
    """Change a beat and find where the change is visible, by comparison with the beat before.

    Shapes: lead_field (8, 3).
    """
    sign = SIGNS[code]
    time = np.arange(BEAT_START, BEAT_END, 1 / BASE_RATE)
    before = evaluate_beats(waves, time[None], np.ones(1))[0]
    sign.apply(waves, severity, rng)
    after = evaluate_beats(waves, time[None], np.ones(1))[0]
    change = np.abs(twelve_leads((after - before) @ lead_field.T)) * np.isin(LEADS, sign.leads)

    largest = {}
    for group in sign.groups:
        start, end = sign_window(waves, group)
        largest[group] = change[(time >= start) & (time < end)].max(axis=0)
    threshold = min(_VISIBLE, max(values.max() for values in largest.values()))
    return PlantedSign(code, severity, {group: values >= threshold for group, values in largest.items()})


def sign_window(waves: Waves, group: str, rr: float = 1.0) -> tuple[float, float]:
    """Time span of a group of waves, ``PR`` included."""
    if group == "PR":
        return waves.window("P")[0], waves.window("QRS")[0]
    start, end = waves.window(group, rr)
    return (max(start, waves.window("QRS")[1]), end) if group == "ST" else (start, end)

"""The synthetic patients: their diseases, number of recordings and folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from databases.synthetic.electrodes import LEAD_FIELD, twelve_leads
from databases.synthetic.heart import (
    BASE_RATE,
    BEAT_END,
    BEAT_START,
    Waves,
    evaluate_beats,
    healthy_waves,
    rotation,
)
from databases.synthetic.pathology import CLASSES, SIGNS
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


FOLDS = 10
# Superclasses of a patient and their share, near PTB-XL's. No superclass: only a rhythm statement.
_PROFILES = {
    ("NORM",): 0.40,
    ("MI",): 0.14,
    ("MI", "STTC"): 0.03,
    ("CD", "MI"): 0.04,
    ("HYP", "MI"): 0.02,
    ("STTC",): 0.11,
    ("HYP", "STTC"): 0.05,
    ("CD",): 0.11,
    ("CD", "STTC"): 0.02,
    ("HYP",): 0.05,
    ("CD", "HYP"): 0.02,
    (): 0.01,
}
_PLANTING_ORDER = ("HYP", "CD", "MI", "STTC")  # a bundle block reshapes the QRS that hypertrophy enlarged


@dataclass(frozen=True)
class Patient:
    """One synthetic patient."""

    patient_id: int
    profile: tuple[str, ...]
    records: int
    fold: int


def make_cohort(rng: np.random.Generator, records: int) -> list[Patient]:
    """Draw patients for a number of recordings, and assign them to folds."""
    counts: list[int] = []
    while sum(counts) < records:
        counts.append(min(int(rng.choice([1, 2, 3], p=[0.86, 0.11, 0.03])), records - sum(counts)))
    # evenly spaced quantiles: even a small cohort has every profile in proportion
    quantiles = rng.permutation((np.arange(len(counts)) + 0.5) / len(counts))
    edges = np.cumsum(list(_PROFILES.values()))
    profiles = [list(_PROFILES)[i] for i in np.searchsorted(edges / edges[-1], quantiles)]
    folds = stratified_folds(rng, profiles, counts)
    return [
        Patient(number + 1, profile, count, fold)
        for number, (profile, count, fold) in enumerate(zip(profiles, counts, folds, strict=True))
    ]


def stratified_folds(
    rng: np.random.Generator, profiles: list[tuple[str, ...]], counts: list[int]
) -> list[int]:
    """Assign patients to ten folds with equal class frequencies (iterative stratification).

    The rarest class is assigned first, each patient to the fold that lacks most of it (Sechidis et al. 2011,
    doi:10.1007/978-3-642-23808-6_10), as PTB-XL did. Folds 9 and 10, which are scored, come first on a tie.
    """
    weight = np.array(counts, dtype=float)
    member = np.array([[name in profile for name in CLASSES] for profile in profiles])
    lacking = np.tile((weight[:, None] * member).sum(axis=0) / FOLDS, (FOLDS, 1))
    room = np.full(FOLDS, weight.sum() / FOLDS)
    folds = np.zeros(len(profiles), dtype=int)
    evaluated = (
        np.arange(FOLDS) >= 8
    )  # folds 9 and 10 come first where there is not one of a class for every fold
    while (folds == 0).any():
        waiting = folds == 0
        left = member[waiting].sum(axis=0)
        if left.any():
            rarest = int(np.argmin(np.where(left > 0, left, np.inf)))
            patients, need = np.flatnonzero(waiting & member[:, rarest]), lacking[:, rarest]
        else:
            patients, need = np.flatnonzero(waiting), room
        for patient in patients:
            fold = int(np.lexsort((rng.random(FOLDS), -room, ~evaluated, -need.round(6)))[0])
            folds[patient] = fold + 1
            lacking[fold] -= weight[patient] * member[patient]  # `need` is a view of it
            room[fold] -= weight[patient]
    return folds.tolist()


@dataclass(frozen=True)
class Heart:
    """A patient's heart and body, the same in every recording."""

    age: int
    sex: int
    waves: Waves
    lead_field: np.ndarray
    signs: list[PlantedSign]


def make_heart(rng: np.random.Generator, profile: tuple[str, ...]) -> Heart:
    """Draw a patient's heart: normal variation first, then the signs of the profile."""
    ill = any(name != "NORM" for name in profile)
    age = int(np.clip(rng.normal(65, 13) if ill else rng.normal(51, 17), 18, 89))
    sex = int(rng.random() < (0.45 if ill else 0.55))
    lead_field = LEAD_FIELD * rng.normal(1, 0.08, LEAD_FIELD.shape)
    lead_field[2:] += rng.normal(0, 0.10, (6, 3))
    waves = _individual(rng, age, sex)
    signs = []
    for superclass in _PLANTING_ORDER:
        if superclass in profile:
            for code in _draw_codes(rng, superclass):
                signs.append(plant(waves, code, float(rng.beta(1.0, 1.2)), rng, lead_field))
    return Heart(age, sex, waves, lead_field, signs)


def _draw_codes(rng: np.random.Generator, superclass: str) -> list[str]:
    candidates = [sign for sign in SIGNS.values() if sign.superclass == superclass]
    weights = np.array([sign.weight for sign in candidates])
    code = candidates[rng.choice(len(candidates), p=weights / weights.sum())].code
    if superclass == "CD" and code in ("CRBBB", "LAFB", "CLBBB") and rng.random() < 0.2:
        return [code, "1AVB"]
    if superclass == "HYP" and code == "LVH" and rng.random() < 0.15:
        return [code, "LAO/LAE"]
    return [code]


def _individual(rng: np.random.Generator, age: int, sex: int) -> Waves:
    """A healthy person's beat: size, axis, intervals and T differ from one to the next."""
    waves = healthy_waves()
    qrs, st, t, p = (waves.groups == group for group in ("QRS", "ST", "T", "P"))
    youth = np.clip((45 - age) / 30, 0, 1)

    waves.vectors *= rng.normal(1, 0.15, waves.vectors.shape)
    waves.vectors[qrs] += rng.normal(0, 0.05, (int(qrs.sum()), 3))
    waves.vectors[qrs] *= rng.lognormal(0, 0.22) * (1 + 0.15 * youth) * (0.9 if sex else 1.05)
    axis = np.deg2rad(rng.normal(2 - 0.5 * (age - 50), 17))  # the axis turns left with age
    waves.vectors[qrs] = waves.vectors[qrs] @ rotation(axis, rng.normal(0, 0.18)).T

    waves.vectors[t] *= rng.lognormal(0.03, 0.33) * (0.85 if sex else 1.05)
    waves.vectors[t] = waves.vectors[t] @ rotation(0.4 * axis + rng.normal(0, 0.2), rng.normal(0, 0.25)).T
    waves.vectors[p] *= rng.lognormal(0, 0.25)
    # early repolarization, more in the young: it resembles an infarction
    waves.vectors[st] += rng.exponential(0.02 + 0.03 * youth) * np.array([0.5, 0.2, -1.0]) + rng.normal(
        0, 0.008, 3
    )

    waves.times[p] += rng.normal(0, 0.014)
    width = rng.normal(1, 0.07)
    waves.times[qrs] *= width
    waves.widths[qrs] *= width * rng.normal(1, 0.05, int(qrs.sum()))
    repolarization = rng.normal(1.02 if sex else 1.0, 0.05)
    waves.times[st | t] *= repolarization
    waves.widths[t] *= rng.normal(1, 0.08)
    return waves

"""Measure the checks of signal quality on PTB-XL: what they find, what they miss, and false alarms.

Levels and the classifier of exchanged electrodes are chosen on folds 1 to 9; fold 10 is reported beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from benchmarks.rows import DATA
from preprocessing import load_ptbxl
from preprocessing.recordings import electrodes
from preprocessing.recordings.electrodes import (
    EXCHANGES,
    average_beat,
    features,
    find_beats,
    read_classifier,
    suspicions,
)
from preprocessing.recordings.limb_leads import IDENTITIES, LIMB, TOLERANCE, relative_residuals
from preprocessing.recordings.quality import KINDS, find_faults
from preprocessing.recordings.time_scale import doubtful_rate
from preprocessing.transforms.resample import resample
from utils.config import Options, option
from utils.ecg import LEADS
from utils.files import read_json, write_json

NOTES = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
RATE = 100
TEST_FOLD = 10
# False alarms of each exchange on folds 1 to 9; exchanges of like leads are found at more of them only.
ALARMS, ALARMS_OF_LIKE_LEADS = 0.0005, 0.002
LIKE_LEADS = ("LA/LL", "V1/V2", "V2/V3", "V3/V4", "V4/V5", "V4/V6", "V5/V6")


PARTS = ("electrodes", "columns", "faults", "rates", "planted")


@dataclass
class QualityOptions(Options):
    """What ``quality`` measures."""

    data_dir: Path = option(Path("data/ptb"), "folder of PTB-XL")
    fit: list[str] = option(
        [], "exchanges of electrodes whose classifier is fitted and written (all: every one)"
    )
    parts: list[str] = option([], "measure these alone, the others keep their rates", choices=PARTS)
    limit: int = option(0, "measure only this many records (0: all)", min=0)
    planted: int = option(8, "plant faults in one of this many records", min=1)
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


# ---- faults that are planted: signal (1000, 12) in mV, part, lead, random numbers -> changed in place ----


def _stuck(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] = rng.choice([-5.0, 5.0])


def _held(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] = signals[part.start, lead]


def _converter_noise(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] = rng.integers(-1, 2, part.stop - part.start) / 1000


def _gap(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] = np.nan


def _padding(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part.stop - part.start - len(signals) :] = 0.0


def _clip(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    low, high = np.quantile(signals[:, lead], [0.03, 0.97])
    signals[:, lead] = np.round(signals[:, lead].clip(low, high), 3)


def _scale(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[:, lead] *= rng.choice([0.1, 10.0])


def _scale_in_part(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] *= rng.choice([0.1, 10.0])


def _step(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part.start :, lead] += 3 * rng.choice([-1, 1])


def _spike(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part.start, lead] += 10 * rng.choice([-1, 1])


def _mains(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    wave = np.cos(2 * np.pi * rng.choice([50, 60]) * np.arange(len(signals)) / RATE)
    signals[part, lead] += 0.1 * wave[part]


def _white_noise(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead] += rng.normal(0, 0.1, part.stop - part.start)


def _noise_alone(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    walk = np.cumsum(rng.normal(0, 0.05, len(signals)))
    signals[:, lead] = walk - np.linspace(0, walk[-1], len(walk))


def _later(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[:, lead] = np.roll(signals[:, lead], rng.integers(15, 45))


def _wander(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[:, lead] += 2.5 * np.sin(2 * np.pi * (0.2 * np.arange(len(signals)) / RATE + rng.random()))


def _copy(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[:, lead] = signals[:, 6 + (lead - 5) % 6]


def _turned_limb_lead(signals: np.ndarray, part: slice, lead: int, rng: np.random.Generator) -> None:
    signals[part, lead - 6] *= -1


# what is measured of the sampling rate -> the rate with which the records of 100 Hz are read
RATES_READ = {
    "records as they are (alarms)": RATE,
    "read at half the rate": 50,
    "read at twice the rate": 200,
}
Plant = Callable[[np.ndarray, slice, int, np.random.Generator], None]
# what is planted -> how, and the kinds that count as found
PLANTED: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "3 s on the rail (5 mV)": (_stuck, ("rail",)),
    "3 s held at one value": (_held, ("flat", "rail")),
    "3 s of one-LSB noise": (_converter_noise, ("silent",)),
    "3 s missing (NaN)": (_gap, ("gap",)),
    "7 s of zeros at the end": (_padding, ("padding",)),
    "3 % of each side clipped": (_clip, ("clip",)),
    "chest lead x 10 or / 10": (_scale, ("scale",)),
    "3 s of a chest lead x 10 or / 10": (_scale_in_part, ("scale",)),
    "step of 3 mV": (_step, ("jump",)),
    "spike of 10 mV": (_spike, ("spike",)),
    "3 s of mains, 0.1 mV": (_mains, ("mains",)),
    "3 s of white noise, 0.1 mV RMS": (_white_noise, ("noise", "unrelated")),
    "noise instead of a lead": (_noise_alone, ("unrelated", "asynchronous", "jump", "wander")),
    "a lead 0.15 to 0.45 s late": (_later, ("asynchronous", "unrelated")),
    "wander of 5 mV": (_wander, ("wander", "jump")),
    "a lead copied to another": (_copy, ("duplicate",)),
    "3 s of a limb lead upside down": (_turned_limb_lead, ("contradiction",)),
}


def plant(signals: np.ndarray, name: str, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A record with a fault in a random chest lead (or limb lead) at a random second, and the lead's name.

    Shapes: signals (1000, 12) -> (1000, 12).
    """
    changed = signals.copy()
    lead, start = int(rng.integers(6, 12)), int(rng.integers(100, 600))
    PLANTED[name][0](changed, slice(start, start + 300), lead, rng)
    return changed, LEADS[lead - 6 if PLANTED[name][0] is _turned_limb_lead else lead]


# ---- rates -------------------------------------------------------------------------------------------


def _rates(hits: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Share of True on folds 1 to 9 and on fold 10, and the numbers of records."""
    test = folds == TEST_FOLD
    return {
        "folds_1_to_9": float(hits[~test].mean()) if (~test).any() else None,
        "fold_10": float(hits[test].mean()) if test.any() else None,
        "records": [int((~test).sum()), int(test.sum())],
    }


def measure_faults(signals: Any, table: pd.DataFrame, folds: np.ndarray) -> dict[str, Any]:
    """How often each kind is found in records with each note of PTB-XL, and in those without any."""
    found = np.zeros((len(folds), len(KINDS)), dtype=bool)
    kinds = list(KINDS)
    for row in tqdm(range(len(folds)), desc="faults", unit="ECG", disable=None):
        for fault in find_faults(signals[row], RATE):
            found[row, kinds.index(fault.kind)] = True
    noted = np.asarray(table[list(NOTES)].notna())
    groups = {"none": ~np.asarray(noted.any(axis=1))} | {note: noted[:, i] for i, note in enumerate(NOTES)}
    columns = {"any": np.asarray(found.any(axis=1))} | {kind: found[:, i] for i, kind in enumerate(kinds)}
    return {
        kind: {group: _rates(hits[rows], folds[rows]) for group, rows in groups.items()}
        for kind, hits in columns.items()
    }


def measure_planted(signals: Any, folds: np.ndarray, every: int) -> dict[str, Any]:
    """How often planted faults are found in their lead."""
    rows = np.arange(0, len(folds), every)
    result = {}
    for number, (name, (_, kinds)) in enumerate(PLANTED.items()):
        rng = np.random.default_rng([0, number])
        hits = []
        for row in tqdm(rows, desc=name, unit="ECG", leave=False, disable=None):
            changed, lead = plant(np.asarray(signals[row], dtype=np.float64), name, rng)
            hits.append(any(f.kind in kinds and f.lead == lead for f in find_faults(changed, RATE)))
        result[name] = _rates(np.array(hits), folds[rows])
    return result


def measure_rates(signals: Any, folds: np.ndarray, every: int) -> dict[str, Any]:
    """How often the rate is doubted of records as they are, and of the same read with another one."""
    records = np.arange(0, len(folds), every)
    result = {}
    for name, rate in RATES_READ.items():
        rows = np.arange(len(folds)) if rate == RATE else records
        hits = []
        for row in tqdm(rows, desc=name, unit="ECG", leave=False, disable=None):
            beats = find_beats(resample(signals[row], rate, RATE)[: len(signals[row])])
            hits.append(bool(doubtful_rate(beats, max(rate, RATE))))
        result[name] = _rates(np.array(hits), folds[rows])
    return result


def _orders() -> Iterator[tuple[str, list[int], list[int]]]:
    """Exchanges of columns, as group, order of the columns and signs."""
    same = list(range(12))
    for pair in combinations(range(6), 2):
        order = list(same)
        order[pair[0]], order[pair[1]] = pair[1], pair[0]
        yield "two limb leads exchanged", order, [1] * 12
    for lead in range(6):
        yield "a limb lead upside down", same, [-1 if i == lead else 1 for i in same]
        for chest in range(6, 12):
            order = list(same)
            order[lead], order[chest] = chest, lead
            yield "a limb and a chest lead exchanged", order, [1] * 12


def measure_columns(signals: Any, folds: np.ndarray) -> dict[str, Any]:
    """How often the identities contradict exchanged or inverted columns, and records as they are."""
    covariance = np.stack(
        [np.cov(np.asarray(x, dtype=np.float64).T, bias=True) for x in _each(signals, "columns")]
    )
    limb = slice(0, len(LIMB))
    as_recorded = relative_residuals(IDENTITIES, covariance[:, limb, limb]).max(axis=-1) > TOLERANCE
    groups: dict[str, list[np.ndarray]] = {}
    for group, order, signs in _orders():
        changed = covariance[:, order][:, :, order] * np.outer(signs, signs)
        residual = relative_residuals(IDENTITIES, changed[:, limb, limb]).max(axis=-1)
        groups.setdefault(group, []).append(residual > TOLERANCE)
    planted = {group: _rates(np.mean(hits, axis=0), folds) for group, hits in groups.items()}
    return {"as recorded": _rates(as_recorded, folds)} | planted


def _each(signals: Any, description: str) -> Iterator[np.ndarray]:
    for row in tqdm(range(len(signals)), desc=description, unit="ECG", disable=None):
        yield signals[row]


def fit_electrodes(
    beats: np.ndarray, folds: np.ndarray, names: Sequence[str] = tuple(EXCHANGES), known: Any = None
) -> dict[str, Any]:
    """One logistic regression an exchange, records as they are against the same with it, folds 1 to 9.

    ``names``: those that are fitted; the others are taken from ``known``, an earlier result.
    """
    chosen = beats[folds != TEST_FOLD]
    original = features(chosen)
    mean, scale = original.mean(axis=0), original.std(axis=0) + 1e-6
    rows = {}
    for name, exchange in tqdm(EXCHANGES.items(), desc="fit", unit="exchange", disable=None):
        if name not in names:
            rows[name] = known["exchanges"][name]
            continue
        changed = features(chosen @ exchange.matrix.T)
        values = (np.concatenate([original, changed]) - mean) / scale
        exchanged = np.repeat([0, 1], len(chosen))
        model = LogisticRegression(C=0.3, max_iter=300).fit(values, exchanged)
        weights = model.coef_[0] / scale
        scores = (original - mean) @ weights + model.intercept_[0]
        alarms = ALARMS_OF_LIKE_LEADS if name in LIKE_LEADS else ALARMS
        rows[name] = {
            "bias": round(float(model.intercept_[0]), 4),
            "threshold": round(float(np.quantile(scores, 1 - alarms)), 4),
            "weights": [float(f"{value:.4g}") for value in weights],
        }
    return {"mean": [float(f"{value:.5g}") for value in mean], "exchanges": rows}


def measure_electrodes(beats: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """How often each exchange is suspected (and as which) where it is planted, and in records as they are."""
    classifier = read_classifier(electrodes.MODEL)
    as_recorded = suspicions(classifier, beats)
    result: dict[str, Any] = {"any": {"alarms": _rates(as_recorded >= 0, folds)}}
    for column, name in enumerate(classifier.names):
        found = suspicions(classifier, beats @ EXCHANGES[name].matrix.T)
        result[name] = {
            "alarms": _rates(as_recorded == column, folds),
            "suspected": _rates(found >= 0, folds),
            "named": _rates(found == column, folds),
        }
    return result


def run_quality(options: QualityOptions) -> list[Path]:
    """Measure everything and write ``quality.json``."""
    dataset = load_ptbxl(options.data_dir, "superdiagnostic", RATE, keep_unlabeled=True)
    count = options.limit or len(dataset.ids)
    signals = dataset.signals[:count] if options.limit else dataset.signals
    table = pd.read_csv(
        options.data_dir / "ptbxl_database.csv",
        usecols=["ecg_id", "strat_fold", *NOTES],
        index_col="ecg_id",
    ).loc[dataset.ids[:count]]
    folds = table["strat_fold"].to_numpy()
    beats = [average_beat(find_beats(x)) for x in _each(signals, "beats")]
    beating = np.array([beat is not None for beat in beats])
    whole = np.stack([beat for beat in beats if beat is not None])
    written = []
    if options.fit:
        names = list(EXCHANGES) if options.fit == ["all"] else options.fit
        known = read_json(electrodes.MODEL)
        write_json(electrodes.MODEL, fit_electrodes(whole, folds[beating], names, known))
        written.append(electrodes.MODEL)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "electrodes": lambda: measure_electrodes(whole, folds[beating]),
        "columns": lambda: measure_columns(signals, folds),
        "faults": lambda: measure_faults(signals, table, folds),
        "rates": lambda: measure_rates(signals, folds, options.planted),
        "planted": lambda: measure_planted(signals, folds, options.planted),
    }
    written.append(options.data / "quality.json")
    facts = read_json(written[-1]) if options.parts else {}
    facts |= {
        "records": count,
        "release": dataset.fingerprint,
        "settings": {"planted_every": options.planted, "alarms": [ALARMS, ALARMS_OF_LIKE_LEADS]},
    }
    for part in PARTS:
        if part in (options.parts or PARTS):
            facts[part] = measures[part]()
    write_json(written[-1], facts)
    return written

"""The rhythm of the heart: times of beats, and the heart vector of a whole recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from databases.synthetic.heart import Waves, evaluate_beats, rotation

BASE_RATE = 500  # Hz; slower rates are decimated from it
MARGIN = 0.5  # seconds simulated on each side and cut off, so that no filter edge is kept
BEAT_START, BEAT_END = -0.55, 0.85  # seconds around R in which a beat's waves live


@dataclass
class Rhythm:
    """Times of the beats, and which of them are ventricular."""

    peaks: np.ndarray
    rr: np.ndarray
    ventricular: np.ndarray
    fibrillation: bool


def make_rhythm(rng: np.random.Generator, rate: float, kind: str, seconds: int, pvcs: int = 0) -> Rhythm:
    """Draw beat times: breathing and slow variation in sinus rhythm, irregular in atrial fibrillation."""
    count = int((seconds + 2 * MARGIN + 3) * rate / 60 * 1.3) + 4
    if kind == "fibrillation":
        rr = 60 / rate * np.clip(rng.lognormal(-0.02, 0.22, count), 0.5, 2.0)
    else:
        breathing = rng.uniform(0.10, 0.18) if kind == "arrhythmia" else rng.uniform(0.005, 0.035)
        order = np.arange(count) * 60 / rate
        phase = rng.uniform(0, 2 * np.pi, 2)
        rr = 1 + breathing * np.sin(2 * np.pi * rng.uniform(0.18, 0.32) * order + phase[0])
        rr = rr + rng.uniform(0.003, 0.02) * np.sin(2 * np.pi * 0.1 * order + phase[1])
        rr = 60 / rate * (rr + rng.normal(0, 0.006, count))
    ventricular = np.zeros(count, dtype=bool)
    first = 3 + int(2 * rate / 60)
    last = max(first + 1, int(seconds * rate / 60))
    for beat in rng.choice(
        np.arange(first, last, 3), size=min(pvcs, len(range(first, last, 3))), replace=False
    ):
        ventricular[beat] = True
        early = rng.uniform(0.55, 0.70)
        rr[beat + 1] *= 2 - early
        rr[beat] *= early
    peaks = np.cumsum(rr) - rr[0] - MARGIN - 0.6 - rng.uniform(0, 60 / rate)
    kept = peaks < seconds + MARGIN + 0.6
    felt = np.where(ventricular, 60 / rate, np.clip(rr, 0.4 * 60 / rate, 1.25 * 60 / rate))
    return Rhythm(peaks[kept], felt[kept], ventricular[kept], kind == "fibrillation")


def ventricular_waves(rng: np.random.Generator) -> Waves:
    """Shape of a premature ventricular complex: no P, wide QRS, T opposite to QRS."""
    side = rng.choice([-1.0, 1.0])  # from the right ventricle it looks like LBBB, from the left like RBBB
    main = np.array([side * rng.uniform(0.6, 1.1), rng.uniform(-0.9, 0.9), side * rng.uniform(0.4, 0.9)])
    waves = Waves.from_table(
        [
            ("early", "QRS", -0.025, 0.022, *(0.6 * main)),
            ("late", "QRS", 0.025, 0.026, *main),
            ("T_peak", "T", 0.27, 0.055, *(-0.35 * main)),
        ]
    )
    return waves


def simulate_vector(rng: np.random.Generator, waves: Waves, rhythm: Rhythm, seconds: int) -> np.ndarray:
    """Heart vector of a whole recording, with breathing.

    Returns shape ((seconds + 1).
    """
    samples = round((seconds + 2 * MARGIN) * BASE_RATE)
    span = round((BEAT_END - BEAT_START) * BASE_RATE)
    first = np.floor((rhythm.peaks + BEAT_START + MARGIN) * BASE_RATE).astype(int)
    index = first[:, None] + np.arange(span)
    times = index / BASE_RATE - MARGIN - rhythm.peaks[:, None]
    if rhythm.fibrillation:
        waves = waves.copy()
        waves.vectors[waves.groups == "P"] = 0.0

    beats = np.empty((*index.shape, 3))
    normal = ~rhythm.ventricular
    beats[normal] = evaluate_beats(waves, times[normal], rhythm.rr[normal])
    if rhythm.ventricular.any():
        ectopic = ventricular_waves(rng)
        beats[~normal] = evaluate_beats(ectopic, times[~normal], rhythm.rr[~normal])

    # breathing turns the heart and changes the chest's resistance
    breath = np.sin(2 * np.pi * rng.uniform(0.18, 0.32) * rhythm.peaks + rng.uniform(0, 2 * np.pi))
    turn, swell = rng.uniform(0.0, 0.07), rng.uniform(0.0, 0.06)
    for beat, phase in enumerate(breath):
        beats[beat] = beats[beat] @ ((1 + swell * phase) * rotation(turn * phase, 0.5 * turn * phase)).T

    vector = np.zeros((samples, 3))
    for beat, start in zip(beats, first, strict=True):
        low, high = max(start, 0), min(start + span, samples)
        if low < high:
            vector[low:high] += beat[low - start : high - start]
    if rhythm.fibrillation:
        vector += _fibrillation(rng, samples)
    return vector


def _fibrillation(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Fibrillatory waves: 5-8.5 Hz with wandering frequency and size, largest in V1 and II."""
    time = np.arange(samples) / BASE_RATE
    frequency = rng.uniform(5.0, 8.5) + 0.6 * np.sin(
        2 * np.pi * rng.uniform(0.1, 0.5) * time + rng.uniform(0, 6)
    )
    phase = 2 * np.pi * np.cumsum(frequency) / BASE_RATE
    size = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * time + rng.uniform(0, 6))
    wave = size * (np.sin(phase) + 0.3 * np.sin(2 * phase + 1))
    return wave[:, None] * rng.uniform(0.3, 1.0) * np.array([0.02, 0.045, -0.055])

"""A dipole model of the heart: one moving vector in three dimensions.

Each wave of a beat is a Gaussian in time along a fixed direction (McSharry et al. 2003,
doi:10.1109/TBME.2003.808805; in three dimensions Sameni et al. 2007, doi:10.1155/2007/43407).
`simulate_vector` strings the beats together, `electrodes` looks at them from the body surface.

Axes: x to the patient's left, y to the feet, z to the back. Times in seconds from the R peak, vectors in mV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Waves:
    """The waves of one beat, one row each."""

    names: list[str]
    groups: np.ndarray
    times: np.ndarray
    widths: np.ndarray
    vectors: np.ndarray

    @classmethod
    def from_table(cls, table: list[tuple]) -> Waves:
        """Build from rows (name, group, time, width, x, y, z)."""
        numbers = np.array([row[2:] for row in table], dtype=float)
        groups = np.array([row[1] for row in table], dtype="U3")
        return cls([row[0] for row in table], groups, numbers[:, 0], numbers[:, 1], numbers[:, 2:])

    def copy(self) -> Waves:
        return Waves(
            list(self.names), self.groups.copy(), self.times.copy(), self.widths.copy(), self.vectors.copy()
        )

    def add(
        self,
        name: str,
        group: str,
        time: float,
        width: float,
        vector: np.ndarray | tuple[float, float, float],
    ) -> None:
        self.names.append(name)
        self.groups = np.append(self.groups, group)
        self.times = np.append(self.times, time)
        self.widths = np.append(self.widths, width)
        self.vectors = np.vstack([self.vectors, vector])

    def row(self, name: str) -> int:
        return self.names.index(name)

    def window(self, group: str, rr: float = 1.0) -> tuple[float, float]:
        """Time span of a group of waves."""
        of_group = self.groups == group
        stretch = np.sqrt(rr) if group in ("ST", "T") else 1.0
        reach = 2.2 * self.widths[of_group]
        start, end = np.min(self.times[of_group] - reach), np.max(self.times[of_group] + reach)
        return float(start * stretch), float(end * stretch)


def healthy_waves() -> Waves:
    """The textbook beat: R grows from V1 to V5, aVR points down, T follows QRS."""
    return Waves.from_table(
        [
            ("P_right", "P", -0.145, 0.017, 0.045, 0.080, -0.035),
            ("P_left", "P", -0.113, 0.018, 0.075, 0.065, 0.045),
            ("septal", "QRS", -0.024, 0.0065, -0.15, 0.01, -0.24),
            ("apical", "QRS", -0.011, 0.0068, 0.35, 0.24, -0.26),
            ("free_wall", "QRS", 0.001, 0.0082, 1.02, 0.58, 0.12),
            ("posterior", "QRS", 0.014, 0.0092, 0.32, 0.08, 0.85),
            ("terminal", "QRS", 0.030, 0.0072, -0.18, -0.08, 0.18),
            ("ST_early", "ST", 0.085, 0.025, 0.025, 0.010, -0.030),
            ("ST_late", "ST", 0.140, 0.032, 0.040, 0.015, -0.040),
            ("T_rise", "T", 0.222, 0.046, 0.16, 0.08, -0.11),
            ("T_peak", "T", 0.280, 0.033, 0.30, 0.15, -0.20),
        ]
    )


def rotation(frontal: float, horizontal: float = 0.0) -> np.ndarray:
    """Rotation of the heart vector, (3, 3)."""
    c, s = np.cos(frontal), np.sin(frontal)
    around_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    c, s = np.cos(horizontal), np.sin(horizontal)
    around_y = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return around_y @ around_z


def evaluate_beats(waves: Waves, times: np.ndarray, rr: np.ndarray) -> np.ndarray:
    """Heart vector of several beats of the same shape; times (B, S), rr (B,) -> (B, S, 3)."""
    repolarization = np.isin(waves.groups, ("ST", "T"))
    stretch = np.where(repolarization, np.sqrt(rr)[:, None], 1.0)
    center = (waves.times * stretch)[:, :, None]
    width = (waves.widths * stretch)[:, :, None]
    bumps = np.exp(-0.5 * ((times[:, None, :] - center) / width) ** 2)
    return np.einsum("bks,kd->bsd", bumps, waves.vectors)


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

"""A dipole model of the heart, seen by the twelve leads.

The heart's electrical activity is one moving vector in three dimensions. Each wave of a beat is a Gaussian in
time along a fixed direction (McSharry et al. 2003, doi:10.1109/TBME.2003.808805; in three dimensions Sameni et
al. 2007, doi:10.1155/2007/43407), and a lead field projects the vector onto the body surface (Dower et al. 1980,
doi:10.1002/clc.4960030202). Only I, II and V1-V6 are projected; the other four leads are computed from I and II
as an electrocardiograph does, so Einthoven's and Goldberger's identities hold exactly.

Axes: x to the patient's left, y to the feet, z to the back. Times in seconds from the R peak, vectors in mV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly

# Dower's transfer coefficients; rows I, II, V1..V6, columns x, y, z
LEAD_FIELD = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
BASE_RATE = 500  # Hz; slower rates are decimated from it
BEAT_START, BEAT_END = -0.55, 0.85  # seconds around R in which a beat's waves live
_MARGIN = 0.5  # seconds simulated on each side and cut off, so that no filter edge is kept


@dataclass
class Waves:
    """The waves of one beat, one row each.

    Attributes
    ----------
    names : list of str
        For example ``septal`` or ``T_peak``.
    groups : ndarray of str, shape (K,)
        ``P``, ``QRS``, ``ST`` or ``T``.
    times, widths : ndarray, shape (K,)
        Centre and standard deviation in seconds; ST and T are given for an RR interval of 1 s.
    vectors : ndarray, shape (K, 3)
        Direction and size in mV.
    """

    names: list[str]
    groups: np.ndarray
    times: np.ndarray
    widths: np.ndarray
    vectors: np.ndarray

    @classmethod
    def from_table(cls, table: list[tuple]) -> Waves:
        """Build from rows (name, group, time, width, x, y, z).

        Parameters
        ----------
        table : list of tuple
            One row per wave.

        Returns
        -------
        Waves
            The beat.
        """
        numbers = np.array([row[2:] for row in table], dtype=float)
        groups = np.array([row[1] for row in table], dtype="U3")
        return cls([row[0] for row in table], groups, numbers[:, 0], numbers[:, 1], numbers[:, 2:])

    def copy(self) -> Waves:
        """Copy, so that the original survives a change.

        Returns
        -------
        Waves
            Independent arrays.
        """
        return Waves(
            list(self.names), self.groups.copy(), self.times.copy(), self.widths.copy(), self.vectors.copy()
        )

    def add(self, name: str, group: str, time: float, width: float, vector: tuple[float, float, float]) -> None:
        """Add one wave.

        Parameters
        ----------
        name, group : str
            As in the class.
        time, width : float
            Seconds.
        vector : tuple of float
            x, y, z in mV.
        """
        self.names.append(name)
        self.groups = np.append(self.groups, group)
        self.times = np.append(self.times, time)
        self.widths = np.append(self.widths, width)
        self.vectors = np.vstack([self.vectors, vector])

    def row(self, name: str) -> int:
        """Find the row of a wave.

        Parameters
        ----------
        name : str
            Wave name.

        Returns
        -------
        int
            Row index.
        """
        return self.names.index(name)

    def window(self, group: str, rr: float = 1.0) -> tuple[float, float]:
        """Time span of a group of waves.

        Parameters
        ----------
        group : str
            ``P``, ``QRS``, ``ST`` or ``T``.
        rr : float
            RR interval in seconds; ST and T stretch with its square root.

        Returns
        -------
        tuple of float
            Start and end in seconds from the R peak.
        """
        of_group = self.groups == group
        stretch = np.sqrt(rr) if group in ("ST", "T") else 1.0
        reach = 2.2 * self.widths[of_group]
        start, end = np.min(self.times[of_group] - reach), np.max(self.times[of_group] + reach)
        return float(start * stretch), float(end * stretch)


def healthy_waves() -> Waves:
    """Give the textbook beat: R grows from V1 to V5, aVR points down, T follows QRS.

    Returns
    -------
    Waves
        PR interval 0.155 s, QRS 0.09 s, QTc 0.41 s.
    """
    return Waves.from_table(
        [
            ("P_right", "P", -0.150, 0.017, 0.035, 0.085, -0.055),
            ("P_left", "P", -0.118, 0.018, 0.060, 0.060, 0.045),
            ("septal", "QRS", -0.027, 0.0075, -0.15, 0.01, -0.32),
            ("apical", "QRS", -0.012, 0.0080, 0.35, 0.28, -0.28),
            ("free_wall", "QRS", 0.001, 0.0095, 0.85, 0.62, 0.12),
            ("posterior", "QRS", 0.016, 0.0110, 0.30, 0.10, 0.75),
            ("terminal", "QRS", 0.035, 0.0085, -0.17, -0.14, 0.20),
            ("ST_early", "ST", 0.085, 0.025, 0.015, 0.015, -0.030),
            ("ST_late", "ST", 0.140, 0.032, 0.020, 0.015, -0.035),
            ("T_rise", "T", 0.225, 0.048, 0.12, 0.09, -0.07),
            ("T_peak", "T", 0.285, 0.034, 0.24, 0.18, -0.13),
        ]
    )


def rotation(frontal: float, horizontal: float = 0.0) -> np.ndarray:
    """Rotation of the heart vector.

    Parameters
    ----------
    frontal : float
        Radians in the frontal plane; positive turns the axis towards the feet (to the right).
    horizontal : float
        Radians in the horizontal plane; positive turns forces from the left towards the back, which delays the
        R progression in the chest leads.

    Returns
    -------
    ndarray, shape (3, 3)
        Apply as ``vectors @ rotation.T``.
    """
    c, s = np.cos(frontal), np.sin(frontal)
    around_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    c, s = np.cos(horizontal), np.sin(horizontal)
    around_y = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return around_y @ around_z


def evaluate_beats(waves: Waves, times: np.ndarray, rr: np.ndarray) -> np.ndarray:
    """Heart vector of several beats of the same shape.

    Parameters
    ----------
    waves : Waves
        The shape.
    times : ndarray, shape (B, S)
        Seconds from each beat's R peak.
    rr : ndarray, shape (B,)
        Each beat's RR interval in seconds; ST and T stretch with its square root (Bazett).

    Returns
    -------
    ndarray, shape (B, S, 3)
        mV.
    """
    repolarisation = np.isin(waves.groups, ("ST", "T"))
    stretch = np.where(repolarisation, np.sqrt(rr)[:, None], 1.0)
    centre = (waves.times * stretch)[:, :, None]
    width = (waves.widths * stretch)[:, :, None]
    bumps = np.exp(-0.5 * ((times[:, None, :] - centre) / width) ** 2)
    return np.einsum("bks,kd->bsd", bumps, waves.vectors)


@dataclass
class Rhythm:
    """When the beats come and which of them are ventricular.

    Attributes
    ----------
    peaks : ndarray, shape (B,)
        R peaks in seconds; the first and last lie outside the recording.
    rr : ndarray, shape (B,)
        Interval before each beat in seconds, as repolarisation feels it.
    ventricular : ndarray of bool, shape (B,)
        Premature ventricular complexes.
    fibrillation : bool
        Fibrillatory waves instead of P waves.
    """

    peaks: np.ndarray
    rr: np.ndarray
    ventricular: np.ndarray
    fibrillation: bool


def make_rhythm(rng: np.random.Generator, rate: float, kind: str, seconds: float, pvcs: int = 0) -> Rhythm:
    """Draw beat times: breathing and slow variation in sinus rhythm, no order in atrial fibrillation.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    rate : float
        Mean beats per minute.
    kind : str
        ``sinus``, ``arrhythmia`` (sinus arrhythmia) or ``fibrillation``.
    seconds : float
        Length of the recording.
    pvcs : int
        Premature ventricular complexes, each with its compensatory pause.

    Returns
    -------
    Rhythm
        Beats from before the start to after the end.
    """
    count = int((seconds + 2 * _MARGIN + 3) * rate / 60 * 1.3) + 4
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
    for beat in rng.choice(np.arange(first, last, 3), size=min(pvcs, len(range(first, last, 3))), replace=False):
        ventricular[beat] = True
        early = rng.uniform(0.55, 0.70)
        rr[beat + 1] *= 2 - early
        rr[beat] *= early
    peaks = np.cumsum(rr) - rr[0] - _MARGIN - 0.6 - rng.uniform(0, 60 / rate)
    kept = peaks < seconds + _MARGIN + 0.6
    felt = np.where(ventricular, 60 / rate, np.clip(rr, 0.4 * 60 / rate, 1.25 * 60 / rate))
    return Rhythm(peaks[kept], felt[kept], ventricular[kept], kind == "fibrillation")


def ventricular_waves(rng: np.random.Generator) -> Waves:
    """Shape of a premature ventricular complex: no P, wide QRS, T opposite to QRS.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the origin.

    Returns
    -------
    Waves
        The beat.
    """
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


def simulate_vector(
    rng: np.random.Generator, waves: Waves, rhythm: Rhythm, seconds: float
) -> np.ndarray:
    """Heart vector of a whole recording, with breathing.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    waves : Waves
        Shape of the normal beats.
    rhythm : Rhythm
        Beat times.
    seconds : float
        Length of the recording.

    Returns
    -------
    ndarray, shape ((seconds + 1) * 500, 3)
        mV at 500 Hz, starting half a second before the recording.
    """
    samples = int(round((seconds + 2 * _MARGIN) * BASE_RATE))
    span = int(round((BEAT_END - BEAT_START) * BASE_RATE))
    first = np.floor((rhythm.peaks + BEAT_START + _MARGIN) * BASE_RATE).astype(int)
    index = first[:, None] + np.arange(span)
    times = index / BASE_RATE - _MARGIN - rhythm.peaks[:, None]
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
    """Fibrillatory waves: 4.5-8 Hz with wandering frequency and size, largest in V1 and II."""
    time = np.arange(samples) / BASE_RATE
    frequency = rng.uniform(4.5, 8.0) + 0.6 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(frequency) / BASE_RATE
    size = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * time + rng.uniform(0, 6))
    wave = size * (np.sin(phase) + 0.3 * np.sin(2 * phase + 1))
    return wave[:, None] * rng.uniform(0.3, 1.0) * np.array([0.02, 0.045, -0.055])


def electrode_noise(
    rng: np.random.Generator, seconds: float, baseline: float, muscle: float, mains: float
) -> np.ndarray:
    """Noise of the nine electrodes, as the leads I, II, V1-V6 see it.

    Each electrode has its own wander (below 0.7 Hz), muscle noise (20-150 Hz) and 50 Hz mains. Working on
    electrodes keeps the relations between the leads true for the noise as well.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    seconds : float
        Length of the recording.
    baseline, muscle, mains : float
        Root mean square per electrode in mV.

    Returns
    -------
    ndarray, shape ((seconds + 1) * 500, 8)
        mV at 500 Hz, starting half a second before the recording.
    """
    samples = int(round((seconds + 2 * _MARGIN) * BASE_RATE))
    frequency = np.fft.rfftfreq(samples, 1 / BASE_RATE)
    wander = np.where((frequency > 0.04) & (frequency < 0.7), 1 / np.maximum(frequency, 0.04), 0.0)
    activity = ((frequency > 20) & (frequency < 150)).astype(float) + 0.15
    shape = baseline * wander / np.sqrt(np.sum(wander**2)) + muscle * activity / np.sqrt(np.sum(activity**2))
    uneven = rng.lognormal(0, 0.35, (9, 1))  # some electrodes stick better than others
    spectrum = rng.normal(size=(9, len(frequency))) + 1j * rng.normal(size=(9, len(frequency)))
    electrodes = np.fft.irfft(uneven * spectrum * shape, samples) * samples / 2

    time = np.arange(samples) / BASE_RATE
    phase = 2 * np.pi * (50 + rng.normal(0, 0.03)) * time + rng.uniform(0, 2 * np.pi)
    electrodes += mains * rng.normal(size=(9, 1)) * np.sqrt(2) * np.sin(phase + rng.normal(0, 0.5, (9, 1)))

    right_arm, left_arm, left_leg = electrodes[:3]
    chest = electrodes[3:] - electrodes[:3].mean(axis=0)  # against Wilson's central terminal
    return np.vstack([left_arm - right_arm, left_leg - right_arm, chest]).T


def decimate(signal: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Bring a simulated 500 Hz signal to another rate (with anti-aliasing) and cut the margins off.

    Mains hum of 50 Hz sits on the band edge of a 100 Hz recording: half of it is left there.

    Parameters
    ----------
    signal : ndarray, shape ((seconds + 1) * 500, leads)
        From `simulate_vector` or `electrode_noise`.
    sampling_rate : int
        A divisor of 500 (Hz).

    Returns
    -------
    ndarray, shape (seconds * sampling_rate, leads)
        The recording.
    """
    if sampling_rate != BASE_RATE:
        signal = resample_poly(signal, 1, BASE_RATE // sampling_rate, axis=0)
    margin = int(round(_MARGIN * sampling_rate))
    return signal[margin:-margin]


def twelve_leads(independent: np.ndarray) -> np.ndarray:
    """Compute the twelve leads from I, II and V1-V6.

    Parameters
    ----------
    independent : ndarray, shape (..., 8)
        Leads I, II, V1-V6.

    Returns
    -------
    ndarray, shape (..., 12)
        In the order of `utils.ecg.LEADS`.
    """
    one, two = independent[..., 0], independent[..., 1]
    limb = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2], axis=-1)
    return np.concatenate([limb, independent[..., 2:]], axis=-1)

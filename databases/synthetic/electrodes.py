"""From the heart to the body surface: the lead field, the twelve leads, and the noise of the electrodes.

A lead field projects the heart vector onto I, II and V1-V6 (Dower et al. 1980, doi:10.1002/clc.1980.3.2.87).
The other four leads are computed from I and II as an electrocardiograph does, so Einthoven's and
Goldberger's identities hold exactly.
"""

from __future__ import annotations

import numpy as np

from databases.synthetic.heart import BASE_RATE, MARGIN

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


def electrode_noise(
    rng: np.random.Generator, seconds: int, baseline: float, muscle: float, mains: float
) -> np.ndarray:
    """Noise of the nine electrodes, as the leads I, II, V1-V6 see it.

    Each electrode has its own wander (below 0.7 Hz), muscle noise (20-150 Hz) and 50 Hz mains. Working on
    electrodes keeps the relations between the leads true for the noise as well.

    Returns shape ((seconds + 1).
    """
    samples = round((seconds + 2 * MARGIN) * BASE_RATE)
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
    """Decimate a simulated 500 Hz signal (with anti-aliasing) and cut the margins off.

    Mains hum of 50 Hz lies on the band edge of a 100 Hz recording: half of it is left there.

    Shapes: signal ((seconds + 1) -> (seconds * sampling_rate, leads).
    """
    if sampling_rate != BASE_RATE:
        from scipy.signal import resample_poly  # half a second that opening a database does not need

        signal = resample_poly(signal, 1, BASE_RATE // sampling_rate, axis=0)
    margin = round(MARGIN * sampling_rate)
    return signal[margin:-margin]


def twelve_leads(independent: np.ndarray) -> np.ndarray:
    """Compute the twelve leads from I, II and V1-V6; independent (..., 8) -> (..., 12)."""
    one, two = independent[..., 0], independent[..., 1]
    limb = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2], axis=-1)
    return np.concatenate([limb, independent[..., 2:]], axis=-1)

"""Electrodes that were exchanged at the patient: what every lead becomes, and whether a recording looks so.

An exchange of electrodes satisfies Einthoven's and Goldberger's identities; only the shape of the beats can
tell. The algebra of each exchange is exact [1]_, for the right leg's electrode up to the voltage between the
legs, so a classifier (one logistic regression an exchange) is fitted on PTB-XL as it is and as it would be
with the exchange, by `python -m benchmarks quality --fit all`; docs/results/quality.md has its rates.

.. [1] Sensors 19 (2019) 2920, doi:10.3390/s19132920.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preprocessing.recordings.limb_leads import derive_limb_leads
from preprocessing.recordings.order import median, quantile
from preprocessing.transforms.filters import moving_mean
from utils.ecg import LEADS
from utils.files import read_json

MODEL = Path(__file__).parent / "static" / "electrodes.json"
RATE = 100  # Hz, of the beats
_BEFORE, _AFTER = 30, 45  # samples round the steepest part of the QRS complex
_WINDOWS = (slice(5, 24), slice(24, 38), slice(40, 72))  # P wave, QRS complex, T wave
_SEPARATE_SECONDS = 0.3
# Leads that are all one curve, as in a drawing, tell nothing; PTB-XL has 0.006 and more.
_SECOND_SHARE = 0.004
_INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
# I, II, III, aVR, aVL, aVF from I and II.
_LIMB = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])


class Exchange(NamedTuple):
    """What is suspected, and the matrix (8, 8) from the true independent leads to those recorded."""

    text: str
    matrix: np.ndarray


def _limb(
    which: str, lead_i: Sequence[float], lead_ii: Sequence[float], chest: Sequence[float] = (0, 0)
) -> Exchange:
    """What I, II and every chest lead become, each in terms of I and II."""
    matrix = np.eye(8)
    matrix[0, :2], matrix[1, :2] = lead_i, lead_ii
    matrix[2:, :2] += np.asarray(chest)
    return Exchange(f"the {which} electrodes may be exchanged", matrix)


def _chest(first: int, second: int) -> Exchange:
    matrix = np.eye(8)
    matrix[[first + 1, second + 1]] = matrix[[second + 1, first + 1]]
    return Exchange(f"V{first} and V{second} may be exchanged", matrix)


def _inverted(lead: int) -> Exchange:
    matrix = np.eye(8)
    matrix[lead + 1, lead + 1] = -1
    return Exchange(f"V{lead} may be upside down", matrix)


def _turned(text: str, *leads: int) -> Exchange:
    """Several independent leads upside down."""
    matrix = np.eye(8)
    matrix[leads, leads] = -1
    return Exchange(text, matrix)


_THIRD = 1 / 3
EXCHANGES = {
    "RA/LA": _limb("right and left arm", (-1, 0), (-1, 1)),
    "LA/LL": _limb("left arm and left leg", (0, 1), (1, 0)),
    "RA/LL": _limb("right arm and left leg", (1, -1), (0, -1)),
    "RA/LA/LL": _limb("right arm, left arm and left leg", (0, -1), (1, -1)),
    "RA/LL/LA": _limb("right arm, left leg and left arm", (-1, 1), (-1, 0)),
    # Both legs have nearly one potential, so the arm's is lost and Wilson's terminal moves.
    "RA/RL": _limb("right arm and right leg", (1, -1), (0, 0), (0, -_THIRD)),
    "LA/RL": _limb("left arm and right leg", (0, 1), (0, 1), (_THIRD, -_THIRD)),
    **{f"V{a}/V{b}": _chest(a, b) for a, b in combinations(range(1, 7), 2)},
    **{f"-V{lead}": _inverted(lead) for lead in range(1, 7)},
    "-all": _turned("all leads may be upside down", *range(8)),
    "-V1...-V6": _turned("V1 to V6 may be upside down", *range(2, 8)),
    "V6...V1": Exchange("V1 to V6 may be in reverse order", np.eye(8)[[0, 1, 7, 6, 5, 4, 3, 2]]),
}


def exchange(signals: np.ndarray, name: str) -> np.ndarray:
    """The twelve leads as they would be with an exchange of electrodes.

    Shapes: signals (T, 12) -> (T, 12).
    """
    eight = signals[:, [LEADS.index(lead) for lead in _INDEPENDENT]] @ EXCHANGES[name].matrix.T
    limb = derive_limb_leads(eight[:, 0], eight[:, 1])
    return np.column_stack([eight[:, :2], *limb.values(), eight[:, 2:]])


class Beats(NamedTuple):
    """The eight independent leads at 100 Hz without their baseline, (T, 8), and where QRS complexes are."""

    signals: np.ndarray
    peaks: list[int]


def find_beats(signals: np.ndarray) -> Beats:
    """Find the QRS complexes, the steep places of all leads together.

    Shapes: signals (T, 12), at 100 Hz.
    """
    eight = signals[:, [LEADS.index(lead) for lead in _INDEPENDENT]].astype(np.float64)
    eight -= moving_mean(eight, round(0.6 * RATE))
    slope = np.abs(np.diff(eight, axis=0, prepend=eight[:1]))
    slope = np.minimum(slope / (quantile(slope.T, 0.98)[0] + 1e-6), 2).sum(axis=1, keepdims=True)
    steep = moving_mean(slope, 9)[:, 0]
    inner = steep[1:-1]
    high = inner > 0.45 * quantile(steep, 0.98)[0]
    peaks: list[int] = []
    for peak in np.flatnonzero((inner >= steep[:-2]) & (inner > steep[2:]) & high) + 1:
        if peaks and peak - peaks[-1] < _SEPARATE_SECONDS * RATE:
            peaks[-1] = max(peaks[-1], int(peak), key=lambda place: steep[place])
        else:
            peaks.append(int(peak))
    return Beats(eight, peaks)


def average_beat(beats: Beats) -> np.ndarray | None:
    """Median beat of the eight independent leads at 100 Hz, (75, 8); None where no two are whole."""
    eight, last = beats.signals, len(beats.signals) - _AFTER
    whole = [eight[peak - _BEFORE : peak + _AFTER] for peak in beats.peaks if _BEFORE <= peak <= last]
    return median(np.stack(whole, axis=-1)) if len(whole) > 1 else None


def features(beats: np.ndarray) -> np.ndarray:
    """How the leads of a beat go together: products of pairs of leads, means and sizes in P, QRS and T.

    Shapes: beats (N, 75, 8) -> (N, 240).
    """
    scaled = beats.copy()
    limb = np.sqrt(((beats[..., :2] @ _LIMB.T) ** 2).sum(axis=(1, 2)))
    chest = np.sqrt((beats[..., 2:] ** 2).sum(axis=(1, 2)))
    scaled[..., :2] /= limb[:, None, None] + 1e-3
    scaled[..., 2:] /= chest[:, None, None] + 1e-3
    rows, columns = np.triu_indices(8)
    parts = []
    for window in _WINDOWS:
        wave = scaled[:, window]
        products = np.einsum("nti,ntj->nij", wave, wave)
        size = np.sqrt(np.einsum("nii->ni", products)) + 1e-4
        alike = products / size[:, :, None] / size[:, None, :]
        parts += [products[:, rows, columns], wave.mean(axis=1)]
        parts += [alike[:, rows, columns][:, rows != columns], np.log(size + 1e-2)]
    return np.concatenate(parts, axis=1)


class Classifier(NamedTuple):
    """Linear scores of all exchanges: mean (240,), weights (exchanges, 240), the others (exchanges,)."""

    names: list[str]
    mean: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray

    def margins(self, beats: np.ndarray) -> np.ndarray:
        """Score above the threshold of each exchange; suspected where positive.

        Shapes: beats (N, 75, 8) -> (N, exchanges).
        """
        return (features(beats) - self.mean) @ self.weights.T + self.bias - self.threshold


def read_classifier(path: Path = MODEL) -> Classifier:
    """Read the classifier that `python -m benchmarks quality --fit all` wrote."""
    stored = read_json(path)
    rows = stored["exchanges"]
    columns = (np.array([row[key] for row in rows.values()]) for key in ("weights", "bias", "threshold"))
    return Classifier(list(rows), np.array(stored["mean"]), *columns)


_classifier = functools.cache(read_classifier)


def suspicions(classifier: Classifier, beats: np.ndarray) -> np.ndarray:
    """Column of the exchange that is suspected in each beat, -1 for none.

    Of several, it is the one without which the beat looks least exchanged. An arm on the right leg loses a
    lead, which cannot be undone: such an exchange is named where no other makes the beat look right.

    Shapes: beats (N, 75, 8) -> (N,).
    """
    margins = classifier.margins(beats)
    remaining = np.full(margins.shape, np.inf)
    for column, name in enumerate(classifier.names):
        rows = np.flatnonzero(margins[:, column] > 0)
        if not len(rows):
            continue
        if "RL" in name:
            remaining[rows, column] = -1e-3 * margins[rows, column]
        else:
            undone = beats[rows] @ np.linalg.inv(EXCHANGES[name].matrix).T
            remaining[rows, column] = classifier.margins(undone).max(axis=1)
    return np.where((margins > 0).any(axis=1), remaining.argmin(axis=1), -1)


def suspected_exchange(beats: Beats) -> str | None:
    """Name of the exchange of electrodes that the beats suggest, if any."""
    beat = average_beat(beats)
    if beat is None:
        return None
    energies = np.linalg.eigvalsh(beat.T @ beat)
    if energies[-2] < _SECOND_SHARE * energies.sum():
        return None
    column = int(suspicions(_classifier(), beat[None])[0])
    return None if column < 0 else _classifier().names[column]

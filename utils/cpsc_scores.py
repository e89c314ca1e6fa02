"""Scores of the China Physiological Signal Challenges 2020 (premature beats) and 2021 (fibrillation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.bootstrap import interval_of_mean, interval_of_sums
from utils.errors import DataError

CPSC2020_TOLERANCE_S = 0.15
CPSC2020_MISSED, CPSC2020_FALSE = 5, 1  # points that a beat costs
RHYTHMS = ("N", "AFf", "AFp")  # no, persistent and paroxysmal atrial fibrillation
RHYTHM_POINTS = np.array([[1, -1, -0.5], [-2, 1, 0], [-1, 0, 1]])  # true rhythm, answer


def cpsc2020_score(
    references: Sequence[dict[str, np.ndarray]],
    found: Sequence[dict[str, np.ndarray]],
    rate: float,
    patients: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    as_published: bool = False,
) -> dict[str, dict[str, float]]:
    """Penalty score for premature beats: -5 for each one that is missed, -1 for each false one.

    Parameters
    ----------
    references, found : sequence of dict
        For each record ``S`` and ``V``: sample numbers of supraventricular and ventricular premature beats,
        ascending.
    rate : float
        Sampling rate in Hz.
    patients : sequence, optional
        Patient of each record, for the intervals; without, every record is of another patient.
    resamples, seed : int
        Of the bootstrap over patients.
    as_published : bool, optional
        Count as the challenge's script does: false beats of a record that has no such beat twice, and a
        detection near two reference beats for both, which can make the number of false ones negative.

    Returns
    -------
    dict
        For ``S`` and ``V``: ``score`` (0 at best) with the 95 % interval ``low`` to ``high``, ``tp``, ``fp``
        and ``fn``. A reference beat is found where a detection that no other beat takes is within 150 ms;
        detections that are left over are false.

    Raises
    ------
    DataError
        There are not equally many records, or a kind of beat is missing.

    Notes
    -----
    Cai et al., J. Med. Imaging Health Inform. 10, 2663 (2020), doi:10.1166/jmihi.2020.3289.
    """
    if len(references) != len(found):
        raise DataError(f"{len(references)} records with reference beats, {len(found)} with found ones")
    result = {}
    for kind in ("S", "V"):
        counts = np.array(
            [
                _premature(_beats(reference, kind), _beats(beats, kind), rate, as_published)
                for reference, beats in zip(references, found, strict=True)
            ]
        ).reshape(-1, 3)
        interval = interval_of_sums(counts, _penalty, patients, resamples, seed)
        tp, fp, fn = (int(count) for count in counts.sum(axis=0))
        score = float(_penalty(counts.sum(axis=0)))
        result[kind] = {"score": score, **interval, "tp": tp, "fp": fp, "fn": fn}
    return result


def _beats(record: dict[str, np.ndarray], kind: str) -> np.ndarray:
    if kind not in record:
        raise DataError(f"a record has no beats '{kind}': give an empty array where there are none")
    return np.asarray(record[kind]).ravel()


def _premature(
    reference: np.ndarray, found: np.ndarray, rate: float, as_published: bool
) -> tuple[int, int, int]:
    """True and false positives and false negatives of a record."""
    reach = CPSC2020_TOLERANCE_S * rate
    reference, found = np.sort(reference), np.sort(found)
    if as_published:
        first = np.searchsorted(found, reference - reach, side="left")
        true = int((np.searchsorted(found, reference + reach, side="right") > first).sum())
        return true, len(found) - true + (0 if len(reference) else len(found)), len(reference) - true
    true = beat = detection = 0
    while beat < len(reference) and detection < len(found):  # the earliest fit is the largest matching
        distance = found[detection] - reference[beat]
        true += bool(abs(distance) <= reach)
        beat, detection = beat + (distance >= -reach), detection + (distance <= reach)
    return true, len(found) - true, len(reference) - true


def _penalty(counts: np.ndarray) -> np.ndarray:
    _, false, missed = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return -CPSC2020_FALSE * false - CPSC2020_MISSED * missed


@dataclass(frozen=True)
class AfReference:
    """Atrial fibrillation in one record.

    Parameters
    ----------
    rhythm : str
        ``N`` (none), ``AFf`` (persistent) or ``AFp`` (paroxysmal).
    beats : numpy.ndarray
        Sample numbers of all beats, ascending.
    episodes : numpy.ndarray
        Shape (E, 2): for each episode the samples of its first beat and of the beat where it ends.
    samples : int
        Length of the record.
    """

    rhythm: str
    beats: np.ndarray
    episodes: np.ndarray
    samples: int

    def __post_init__(self) -> None:
        if self.rhythm not in RHYTHMS:
            raise DataError(f"rhythm '{self.rhythm}' is none of {', '.join(RHYTHMS)}")
        beats, episodes = np.asarray(self.beats), np.asarray(self.episodes).reshape(-1, 2)
        if (np.diff(beats) <= 0).any():
            raise DataError("the beats are not ascending")
        if (self.rhythm == "N") != (len(episodes) == 0):
            raise DataError(f"rhythm {self.rhythm} with {len(episodes)} episodes of atrial fibrillation")
        if len(episodes) and len(beats) < 4:
            raise DataError(f"{len(beats)} beats are too few for an episode of atrial fibrillation")
        object.__setattr__(self, "beats", beats)
        object.__setattr__(self, "episodes", episodes)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points of each sample as the onset and as the end of an episode.

        Returns
        -------
        onset, end : numpy.ndarray
            Shape (samples,): 1 from one beat before to two after an onset (two before to one after an end),
            0.5 one beat further; before the first and after the last beats of the record, and on the outer
            sides of persistent fibrillation, all the way to the end of the record.
        """
        onset, end = np.zeros(self.samples), np.zeros(self.samples)
        # beats by number; those before the first are at its start, those after the last at its end
        edges = np.concatenate([[0] * 4, self.beats, [self.samples] * 4]).astype(np.int64)
        last = len(self.beats) - 1
        for start, stop in np.searchsorted(self.beats, self.episodes):
            a, b = start + 4, stop + 4
            whole = self.rhythm == "AFf"
            inner = 0 if whole or start <= 1 else edges[a - 1]
            onset[inner : edges[a + 2]] += 1
            onset[edges[a + 2] : edges[a + 3]] += 0.5
            onset[0 if start == 2 else edges[a - 2] : inner] += 0.5
            outer = self.samples if whole or stop + 1 >= last else edges[b + 1]
            end[edges[b - 2] : outer] += 1
            end[edges[b - 3] : edges[b - 2]] += 0.5
            end[outer : self.samples if stop + 2 >= last else edges[b + 2]] += 0.5
        return onset, end


def cpsc2021_score(
    references: Sequence[AfReference],
    found: Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Score for episodes of atrial fibrillation: the rhythm of the record, and onsets and ends within beats.

    Parameters
    ----------
    references : sequence of AfReference
        One for each record.
    found : sequence of numpy.ndarray
        For each record (M, 2): first and last sample of each episode. None means no fibrillation; a single
        one that covers the record means persistent, all else paroxysmal fibrillation.
    patients : sequence, optional
        Patient of each record, for the interval; without, every record is of another patient.
    resamples, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    dict of str to float
        ``score``, the mean over records, with the 95 % interval ``low`` to ``high``; its parts ``rhythm`` and
        ``endpoints``. Answers that are right get 1 for a record, and 2 more for each episode.

    Raises
    ------
    DataError
        There are not equally many records, or an episode is not inside its record.

    Notes
    -----
    Wang et al., Paroxysmal atrial fibrillation events detection from dynamic ECG recordings, PhysioNet
    (2021), doi:10.13026/ksya-qw89.
    """
    if len(references) != len(found):
        raise DataError(f"{len(references)} records with reference episodes, {len(found)} with found ones")
    parts = np.array(
        [
            _points_of(number, reference, episodes)
            for number, (reference, episodes) in enumerate(zip(references, found, strict=True))
        ]
    ).reshape(-1, 2)
    interval = interval_of_mean(parts.sum(axis=1), patients, resamples, seed)
    rhythm, endpoints = (float(value) for value in parts.mean(axis=0))
    return {"score": rhythm + endpoints, **interval, "rhythm": rhythm, "endpoints": endpoints}


def _points_of(number: int, reference: AfReference, found: np.ndarray) -> tuple[float, float]:
    """Points of a record for its rhythm, and for onsets and ends."""
    episodes = np.asarray(found).reshape(-1, 2)
    inside = (episodes[:, 0] >= 0) & (episodes[:, 1] < reference.samples) & (episodes[:, 0] <= episodes[:, 1])
    if not inside.all():
        first, last = episodes[~inside][0]
        raise DataError(
            f"record {number}: episode {first} to {last} is not inside its samples, 0 to "
            f"{reference.samples - 1}"
        )
    covers = len(episodes) == 1 and episodes[0, 1] - episodes[0, 0] == reference.samples - 1
    answer = "AFf" if covers else "AFp" if len(episodes) else "N"
    rhythm = float(RHYTHM_POINTS[RHYTHMS.index(reference.rhythm), RHYTHMS.index(answer)])
    if reference.rhythm == "N" or not len(episodes):
        return rhythm, 0.0
    onset, end = reference.points()
    first, last = episodes.astype(np.int64).T
    points = float((onset[first] + end[last]).sum())
    return rhythm, points * len(reference.episodes) / max(len(reference.episodes), len(episodes))

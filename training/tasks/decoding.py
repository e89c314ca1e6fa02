"""From probabilities along time to peaks and waves, without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from utils.errors import DataError


class PeakDecoder:
    """Peaks from the probability of each sample, given in pieces; how they are cut makes no difference.

    A stretch with at least `threshold` that lasts at least `shortest_s` is a peak, at the mean of its samples
    weighted by their probability. Of peaks closer than `refractory_s` the one with the larger sum of
    probabilities remains.
    """

    def __init__(
        self, rate: float, threshold: float = 0.5, shortest_s: float = 0.02, refractory_s: float = 0.2
    ):
        if not rate > 0:
            raise DataError("peaks cannot be decoded without a sampling rate")
        self._threshold, self._shortest, self._apart = threshold, shortest_s * rate, refractory_s * rate
        self._open: list[np.ndarray] = []  # pieces of a stretch that has not ended
        self._length = 0  # of that stretch
        self._seen = 0  # samples
        self._last: tuple[float, float] | None = None  # position and sum of the peak that may be replaced

    def feed(self, probabilities: np.ndarray) -> np.ndarray:
        """Take the next samples (T,); returns the positions in samples, (M,), of peaks that are certain."""
        values = np.asarray(probabilities, np.float64)
        if not len(values):
            return np.empty(0)
        high = np.r_[False, values >= self._threshold, False]
        starts, ends = np.flatnonzero(high[1:] & ~high[:-1]), np.flatnonzero(high[:-1] & ~high[1:])
        certain: list[float] = []
        if self._open and not (len(starts) and starts[0] == 0):
            certain += self._close(self._seen)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._open.append(values[start:end])
            self._length += end - start
            if end < len(values):
                certain += self._close(self._seen + end)
        self._seen += len(values)
        return np.array(certain)

    def finish(self) -> np.ndarray:
        """No more samples follow: the peaks that were not certain, (M,)."""
        certain = self._close(self._seen) if self._open else []
        last, self._last = self._last, None
        return np.array(certain + ([] if last is None else [last[0]]))

    def _close(self, end: int) -> list[float]:
        """A stretch has ended before sample `end`."""
        weights, length = np.concatenate(self._open), self._length
        self._open, self._length = [], 0
        if length < self._shortest:
            return []
        total = float(weights.sum())
        position = end - length + float(weights @ np.arange(length)) / total
        before = self._last
        if before is not None and position - before[0] < self._apart:
            self._last = max(before, (position, total), key=lambda peak: peak[1])
            return []
        self._last = (position, total)
        return [] if before is None else [before[0]]


def peaks_of(
    probabilities: np.ndarray,
    rate: float,
    threshold: float = 0.5,
    shortest_s: float = 0.02,
    refractory_s: float = 0.2,
) -> np.ndarray:
    """All peaks of a record, by `PeakDecoder`; probabilities (T,) -> positions in samples (M,)."""
    decoder = PeakDecoder(rate, threshold, shortest_s, refractory_s)
    return np.concatenate([decoder.feed(probabilities), decoder.finish()])


def stretches(mask: np.ndarray) -> np.ndarray:
    """First and last samples of the stretches where a mask holds, (T,) of bool -> (W, 2)."""
    padded = np.r_[False, np.asarray(mask, bool), False]
    starts, ends = np.flatnonzero(padded[1:] & ~padded[:-1]), np.flatnonzero(padded[:-1] & ~padded[1:])
    return np.stack([starts, ends - 1], axis=1)


def clean_waves(waves: np.ndarray, rate: float, shortest_s: float, merge_s: float) -> np.ndarray:
    """Join waves with a gap of less than `merge_s`, then drop those shorter than `shortest_s`; (W, 2)."""
    if len(waves) > 1:
        gaps = waves[1:, 0] - waves[:-1, 1] - 1
        first = np.r_[True, gaps >= merge_s * rate]
        last = np.r_[first[1:], True]
        waves = np.stack([waves[first, 0], waves[last, 1]], axis=1)
    return waves[waves[:, 1] - waves[:, 0] + 1 >= shortest_s * rate]


def one_between(waves: np.ndarray, borders: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Of the waves between two borders the one with the largest sum; waves (W, 2), sums (T + 1,).

    ``borders``: positions, ascending, between which one wave is expected; ``sums``: cumulated probability.
    """
    if not len(waves):
        return waves
    beat = np.searchsorted(borders, waves.mean(axis=1))
    weight = sums[waves[:, 1] + 1] - sums[waves[:, 0]]
    order = np.lexsort((-weight, beat))
    best = order[np.r_[True, beat[order][1:] != beat[order][:-1]]]
    return waves[np.sort(best)]


def frequent_enough(waves: np.ndarray, borders: np.ndarray, least: float, reach: int = 5) -> np.ndarray:
    """Waves near which at least a share `least` of the intervals between borders have one, (W, 2).

    Near are `reach` intervals on either side. What lies before the first or behind the last border does not
    count, and is kept or dropped with its neighbors.
    """
    if not least or not len(waves) or len(borders) < 2:
        return waves
    place = np.searchsorted(borders, waves.mean(axis=1))
    having = np.zeros(len(borders) + 1)
    having[place] = 1
    sums = np.r_[0.0, np.cumsum(having[1:-1])]  # of the intervals between two borders
    first = np.clip(place - 1 - reach, 0, len(sums) - 2)
    last = np.clip(place + reach, 1, len(sums) - 1)
    return waves[sums[last] - sums[first] >= least * (last - first)]


def waves_of(
    probabilities: np.ndarray,
    rate: float,
    classes: Sequence[str],
    shortest_s: Mapping[str, float],
    merge_s: float,
    main: str = "QRS",
    least_share: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """Waves from the probability of each class and sample, (T, C) -> for each kind (W, 2).

    The most probable class of each sample gives stretches; `clean_waves` joins and drops, and between two
    waves of the class `main` one wave of each other class remains (`one_between`). There may be none, and
    there is none of a class where fewer intervals have one than `least_share` says (`frequent_enough`).
    The first class is the background.
    """
    answer = np.argmax(probabilities, axis=-1)
    found = {
        name: clean_waves(stretches(answer == number), rate, shortest_s.get(name, 0.0), merge_s)
        for number, name in enumerate(classes)
        if number
    }
    if main not in found:
        return found
    borders = found[main].mean(axis=1)
    for number, name in enumerate(classes):
        if number and name != main:
            sums = np.r_[0.0, np.cumsum(probabilities[:, number], dtype=np.float64)]
            found[name] = one_between(found[name], borders, sums)
            found[name] = frequent_enough(found[name], borders, (least_share or {}).get(name, 0.0))
    return found

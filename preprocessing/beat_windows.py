"""Windows cut from long records and labeled by their beats."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from databases.wfdb_files import UNITS_PER_MV, to_int16
from preprocessing.signals import ScaledSignals
from preprocessing.targets.beats import window_label
from preprocessing.windows import Beats, Windows
from utils.errors import DataError


def cut_beats(positions: np.ndarray, classes: np.ndarray, length: int, count: int) -> list[np.ndarray]:
    """Assign the beats of a record to consecutive windows; positions (M,), classes (M,) -> (m, 2)."""
    order = np.argsort(positions, kind="stable")
    positions, classes = positions[order], classes[order]
    edges = np.searchsorted(positions, np.arange(count + 1) * length)
    return [
        np.column_stack([positions[a:b] - i * length, classes[a:b]])
        for i, (a, b) in enumerate(itertools.pairwise(edges))
    ]


class BeatWindows:
    """Collect single-lead windows that are labeled by their beats.

    ``classes``: a window in which another class prevails is left out and counted in `dropped`.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.dropped: Counter[str] = Counter()
        self._rows: list[tuple[str, str, str, int, int]] = []
        self._signals: list[np.ndarray] = []
        self._beats: list[np.ndarray] = []

    def label(self, beats: np.ndarray) -> int | None:
        """Class of a window by its beats; beats (m, 2)."""
        label = window_label(beats[:, 1])
        if label < len(self.classes):
            return label
        self.dropped["most ectopic beats are paced or unclassifiable"] += 1
        return None

    def add(
        self,
        record: str,
        patient: str,
        split: str,
        start: int,
        label: int,
        signal: np.ndarray,
        beats: np.ndarray,
    ) -> None:
        """Add a window; signal (T,), beats (m, 2)."""
        try:
            self._signals.append(to_int16(signal))
        except DataError as error:
            raise DataError(f"record {record}, sample {start} on: {error}") from error
        self._rows.append((record, patient, split, start, label))
        self._beats.append(beats)

    def finish(self, dataset: str, lead: str, sampling_rate: int, settings: dict[str, Any]) -> Windows:
        if not self._rows:
            raise DataError(f"{dataset}: no window has a beat of {', '.join(self.classes)}")
        columns = (np.array(column) for column in zip(*self._rows, strict=True))
        records, patients, splits, starts, labels = columns
        beats = np.concatenate(self._beats)
        rows = np.repeat(np.arange(len(self._beats)), [len(b) for b in self._beats])
        return Windows(
            signals=ScaledSignals(np.stack(self._signals)[..., None], units_per_mv=UNITS_PER_MV),
            targets=np.eye(len(self.classes), dtype=np.uint8)[labels],
            classes=self.classes,
            ids=records,
            patients=patients,
            splits=splits,
            sampling_rate=sampling_rate,
            task=dataset,
            leads=(lead,),
            kind="multiclass",
            name=dataset,
            starts=starts,
            normal=self.classes[:1],
            settings=settings | {"dropped": dict(sorted(self.dropped.items()))},
            beats=Beats(rows, beats[:, 0], beats[:, 1]),
        )

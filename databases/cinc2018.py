"""PhysioNet/CinC Challenge 2018: 1,983 nights of polysomnography with one ECG lead, 200 Hz.

Ghassemi et al., Computing in Cardiology 45 (2018), doi:10.22489/CinC.2018.049; files at
doi:10.13026/6phb-r450.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from databases.base import Annotations, Rhythms, Source
from databases.registry import register_database
from databases.wfdb_annotations import read_notes
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header

STAGES = ("W", "R", "N1", "N2", "N3")


@register_database
class Cinc2018(FolderDatabase):
    """Training and test nights of the challenge of 2018; labels exist for the training nights alone.

    ``leads`` of the table are the channels that are voltages (EEG, EOG, EMG and ``ECG``); every record is of
    another person. Sleep stages (W, R, N1, N2, N3) and arousals (``arousal_rera`` ...) are rhythms.
    """

    name = "cinc2018"
    title = "PhysioNet/CinC Challenge 2018 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/6phb-r450"
    size = 1_983
    lead_count = 13
    rates = (200,)
    sampling_rate = 200
    pattern = "**/t[er][0-9][0-9]-*.hea"
    split_names: ClassVar = {"train": "training nights", "test": "test nights, without public labels"}
    source = Source(
        "https://physionet.org/files/challenge-2018/1.0.0/",
        {200: r"(training|test)/[\w-]+/[\w-]+\.(hea|mat|arousal)"},
    )

    def describe(self, header: Header) -> dict[str, Any]:
        """Voltages among the channels, and the split by the name."""
        leads = tuple(signal.name for signal in header.signals if signal.unit.lower() in ("mv", "uv", "v"))
        return {"leads": leads, "split": "train" if header.path.name.startswith("tr") else "test"}

    def annotations(self, record: Any) -> Annotations:
        """Read sleep stages and arousals of a training night."""
        row = self.row(record)
        path = self.root / row["path"]
        if not path.with_name(f"{path.name}.arousal").exists():
            return Annotations()
        marks, notes = read_notes(path, "arousal")
        return replace(Annotations(), rhythms=read_sleep(marks.samples, notes, int(row["samples"])))


def read_sleep(samples: np.ndarray, notes: list[str], length: int) -> Rhythms:
    """Intervals of stages, which last until the next one, and of arousals, ``(name`` to ``name)``."""
    events = [(int(sample), note.strip("\0 ")) for sample, note in zip(samples, notes, strict=True)]
    stages = [(sample, note) for sample, note in events if note in STAGES]
    ends = [sample for sample, _ in stages[1:]] + [length]
    intervals = [(start, end, note) for (start, note), end in zip(stages, ends, strict=True)]
    open_events: dict[str, int] = {}
    for sample, note in events:
        if note.startswith("("):
            open_events[note[1:]] = sample
        elif note.endswith(")") and note[:-1] in open_events:
            intervals.append((open_events.pop(note[:-1]), sample, note[:-1]))
    intervals.sort()
    start, end, name = zip(*intervals, strict=True) if intervals else ((), (), ())
    return Rhythms(np.array(start, np.int64), np.array(end, np.int64), np.array(name, dtype=str))

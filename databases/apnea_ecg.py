"""Apnea-ECG Database: 70 nights of one ECG lead, 100 Hz, with a label for every minute.

Penzel, Moody, Mark, Goldberger and Peter, Computers in Cardiology 27, 255-258 (2000),
doi:10.1109/CIC.2000.898505; files at doi:10.13026/C23W2R.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from databases.base import Annotations, Marks, Rhythms, Source
from databases.registry import register_database
from databases.wfdb_annotations import read_annotations
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header


@register_database
class ApneaEcg(FolderDatabase):
    """Apnea-ECG Database.

    Groups ``a`` (apnea), ``b`` (borderline) and ``c`` (control) are for learning, ``x`` is the challenge's
    test set. ``patient`` is the record: the 70 nights are of 32 people, and the files do not say whose.
    """

    name = "apnea_ecg"
    title = "Apnea-ECG Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C23W2R"
    size = 70
    lead_count = 1
    rates = (100,)
    sampling_rate = 100
    pattern = "[abcx][0-9][0-9].hea"  # a01r and others hold respiration
    annotators = ("qrs",)
    split_names: ClassVar = {"train": "groups a, b and c", "test": "group x"}
    source = Source(
        "https://physionet.org/files/apnea-ecg/1.0.0/",
        {100: r"[abcx]\d\d[er]?r?m?\.(hea|dat|apn|qrs)"},
        extras=("RECORDS", "additional-information.txt", "event-2-answers"),
    )

    def describe(self, header: Header) -> dict[str, Any]:
        """Group and split, from the name of the record."""
        group = header.path.name[0]
        return {"group": group, "split": "test" if group == "x" else "train"}

    def annotations(self, record: Any) -> Annotations:
        """Read the beats of a detector, and minutes with (``A``) and without apnea (``N``) as rhythms."""
        row = self.row(record)
        beats = super().annotations(record).marks
        if not (self.root / f"{row['path']}.apn").exists():
            return Annotations(beats)
        minutes = read_annotations(self.root / row["path"], "apn").marks
        return Annotations(
            beats, rhythms=merge_minutes(minutes, 60 * self.sampling_rate, int(row["samples"]))
        )


def merge_minutes(minutes: Marks, length: int, samples: int) -> Rhythms:
    """Intervals of minutes with the same label; the last one ends with the record."""
    if len(minutes.samples) == 0:
        return Annotations().rhythms
    changes = np.flatnonzero(np.r_[True, minutes.symbols[1:] != minutes.symbols[:-1]])
    start = minutes.samples[changes]
    last = min(int(minutes.samples[-1]) + length, samples)
    return Rhythms(start, np.r_[start[1:], last], minutes.symbols[changes])

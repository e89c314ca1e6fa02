"""China Physiological Signal Challenge 2021: atrial fibrillation in 1,436 recordings of two leads, 200 Hz.

Wang et al., Paroxysmal atrial fibrillation events detection from dynamic ECG recordings, PhysioNet (2021),
doi:10.13026/ksya-qw89.
"""

from __future__ import annotations

import re
from typing import Any

from databases.base import Annotations, Marks, Rhythms, Source
from databases.registry import register_database
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header, RecordError

KINDS = {
    "non atrial fibrillation": "N",
    "persistent atrial fibrillation": "AFf",
    "paroxysmal atrial fibrillation": "AFp",
}


@register_database
class Cpsc2021(FolderDatabase):
    """China Physiological Signal Challenge 2021: beats, and rhythms ``AFIB``, ``AFL`` and ``N``.

    ``records`` has the column ``label``: N (no atrial fibrillation), AFf (all of the time), AFp (paroxysmal).
    ``patient`` is the first number of a record's name. It has no split.
    """

    name = "cpsc2021"
    title = "China Physiological Signal Challenge 2021 1.0.0"
    license = "CC BY 4.0"
    doi = "10.13026/ksya-qw89"
    size = 1_436
    lead_count = 2
    rates = (200,)
    sampling_rate = 200
    pattern = "**/data_[0-9]*_[0-9]*.hea"
    source = Source(
        "https://physionet.org/files/cpsc2021/1.0.0/", {200: r"Training_set_I+/data_\d+_\d+\.(hea|dat|atr)"}
    )

    def annotations(self, record: Any) -> Annotations:
        """Read beats and rhythms, without the mark behind the signal that some files end with."""
        read = super().annotations(record)
        inside = read.marks.samples < self.row(record)["samples"]
        lasting = read.rhythms.start < read.rhythms.end
        return Annotations(
            Marks(*(column[inside] for column in read.marks)),
            rhythms=Rhythms(*(column[lasting] for column in read.rhythms)),
        )

    def describe(self, header: Header) -> dict[str, Any]:
        """Patient, and label by the header's comment."""
        text = " ".join(header.comments).strip("# ").lower()
        if text not in KINDS:
            raise RecordError(header.path, f"header says {text!r}, not one of {', '.join(KINDS)}")
        return {"patient": re.findall(r"\d+", header.path.name)[0], "label": KINDS[text]}

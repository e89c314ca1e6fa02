"""QT Database: 105 excerpts of 15 minutes, two leads, 250 Hz, with wave boundaries marked by cardiologists.

Laguna, Mark, Goldberger and Moody, Computers in Cardiology 24, 673-676 (1997), doi:10.1109/CIC.1997.648140;
files at doi:10.13026/C24K53.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from databases.base import Annotations, Source, Waves
from databases.registry import register_database
from databases.wfdb_annotations import find_waves, read_annotations
from databases.wfdb_database import FolderDatabase
from utils.errors import UsageError, nearest


@register_database
class Qtdb(FolderDatabase):
    """QT Database; every record is of another person, and it has no split.

    ``annotations`` has the waves of the first cardiologist (`waves` reads the others) and the beats of the
    record from which the excerpt was taken, where there are any.
    """

    name = "qtdb"
    title = "QT Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C24K53"
    size = 105
    lead_count = 2
    rates = (250,)
    sampling_rate = 250
    source = Source(
        "https://physionet.org/files/qtdb/1.0.0/",
        {250: r"sel\w+\.(hea|dat|atr|man|q1c|q2c|qt1|qt2|pu0|pu1|pu)"},
    )
    WAVES = ("q1c", "q2c", "pu0", "pu1")

    def annotations(self, record: Any) -> Annotations:
        """Read the beats, and the waves of the first cardiologist."""
        return replace(super().annotations(record), waves=self.waves(record))

    def waves(self, record: Any, annotator: str = "q1c") -> Waves:
        """Read waves: ``q1c``, ``q2c`` by cardiologists; ``pu0``, ``pu1`` by a program on one lead each."""
        if annotator not in self.WAVES:
            raise UsageError(f"unknown annotator '{annotator}' of qtdb: {nearest(annotator, self.WAVES)}")
        row = self.row(record)
        path = self.root / row["path"]
        if annotator == "q2c" and not path.with_name(f"{path.name}.q2c").exists():
            return Annotations().waves  # the second cardiologist marked eleven records
        lead = row["leads"][int(annotator[-1])] if annotator.startswith("pu") else ""
        waves = find_waves(read_annotations(path, annotator).marks, lead)
        # of a wave with two peaks the first one is kept
        repeated = np.r_[
            False, (waves.onset[1:] == -1) & (waves.offset[:-1] == -1) & (waves.kind[1:] == waves.kind[:-1])
        ]
        return Waves(*(column[~repeated] for column in waves))

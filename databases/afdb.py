"""MIT-BIH Atrial Fibrillation Database: 25 records of ten hours, two leads, 250 Hz.

Moody and Mark, Computers in Cardiology 10, 227-230 (1983); files at doi:10.13026/C2MW2D.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from databases.base import Annotations, Source
from databases.registry import register_database
from databases.wfdb_annotations import read_annotations
from databases.wfdb_database import FolderDatabase


@register_database
class Afdb(FolderDatabase):
    """MIT-BIH Atrial Fibrillation Database; every record is of another person, and it has no split.

    Rhythms (``AFIB``, ``AFL``, ``J``, ``N``) are from ``.atr``. Beats are from ``.qrsc`` (corrected by hand)
    where there is one, else from ``.qrs`` (an automatic detector, which marks every beat as ``N``).
    """

    name = "afdb"
    title = "MIT-BIH Atrial Fibrillation Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2MW2D"
    size = 23
    lead_count = 2
    rates = (250,)
    sampling_rate = 250
    annotators = ("qrsc", "qrs")
    without_signal = ("00735", "03665")
    source = Source("https://physionet.org/files/afdb/1.0.0/", {250: r"\d{5}\.(hea|dat|atr|qrsc?)"})

    def annotations(self, record: Any) -> Annotations:
        """Read beats and rhythms."""
        row = self.row(record)
        rhythms = read_annotations(self.root / row["path"], "atr", row["samples"]).rhythms
        return replace(super().annotations(record), rhythms=rhythms)

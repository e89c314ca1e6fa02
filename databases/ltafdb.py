"""Long-Term AF Database: 84 day-long records of people with atrial fibrillation, two leads, 128 Hz.

Petrutiu, Sahakian and Swiryn, Europace 9, 466-470 (2007), doi:10.1093/europace/eum096; files at
doi:10.13026/C2QG6Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from databases.base import Recording, Source
from databases.registry import register_database
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header
from databases.wfdb_reader import read_record
from utils.errors import DataError


@register_database
class Ltafdb(FolderDatabase):
    """Long-Term AF Database: beats and rhythms. Every record is of another person; there is no split."""

    name = "ltafdb"
    title = "Long-Term AF Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2QG6Q"
    size = 84
    lead_count = 2
    rates = (128,)
    sampling_rate = 128
    leads = ("ECG1", "ECG2")  # the headers call both ECG
    source = Source("https://physionet.org/files/ltafdb/1.0.0/", {128: r"\d{2,3}\.(hea|dat|atr|qrs)"})

    def describe(self, header: Header) -> dict[str, Any]:
        """Names of the leads, by their order."""
        return {"leads": self.leads}

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> Recording:
        """Read a recording or a part of it in mV."""
        path = self.root / self.row(record)["path"]
        unknown = set(leads or ()) - set(self.leads)
        if unknown:
            raise DataError(
                f"record {path} has no lead {', '.join(sorted(unknown))} (ltafdb has ECG1 and ECG2)"
            )
        whole = read_record(path, None, start, stop, sampling_rate=self.sampling_rate, dtype=dtype)
        chosen = tuple(leads or self.leads)
        signal = whole.signal[:, [self.leads.index(lead) for lead in chosen]]
        return replace(whole, signal=signal, leads=chosen)

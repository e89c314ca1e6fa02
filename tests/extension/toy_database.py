"""A database: 12-lead recordings in NumPy files, with a table of records."""

from __future__ import annotations

import numpy as np
import pandas as pd

from databases import Database, Recording, register_database
from tests.extension.recordings import RATE
from utils.ecg import LEADS


@register_database
class ToyEcg(Database):
    """``records.csv`` and one ``NAME.npy`` (T, 12) in mV for each record."""

    name, title, license, doi = "toyecg", "Toy recordings", "none", ""
    split_names = {"train": "the first 24", "val": "the next 12", "test": "the last 12"}  # noqa: RUF012

    def _read_records(self) -> pd.DataFrame:
        table = pd.read_csv(self.root / "records.csv", index_col="record", dtype={"patient": str})
        return table.assign(sampling_rate=RATE, leads=[LEADS] * len(table))

    def read(self, record, leads=None, start=None, stop=None) -> Recording:
        """Read a recording."""
        signal = np.load(self.root / f"{self.row(record)['path']}.npy")[start:stop]
        columns = [LEADS.index(lead) for lead in leads or LEADS]
        return Recording(signal[:, columns], RATE, tuple(leads or LEADS))

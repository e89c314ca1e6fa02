"""LUDB: 12 leads of 10 s at 500 Hz in which cardiologists marked P waves, QRS complexes and T waves.

Kalyakulina et al., LUDB: a new open-access validation tool for electrocardiogram delineation algorithms, IEEE
Access 8, 186181 (2020), doi:10.1109/ACCESS.2020.3029211; files at doi:10.13026/eegm-h675: ``ludb.csv`` and
``data/1.hea``, ``1.dat``, and one annotation file a lead (``1.i``, ``1.ii``, ... ``1.v6``).
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np
import pandas as pd

from databases.base import Annotations, Source, Waves
from databases.registry import register_database
from databases.wfdb_annotations import find_waves, read_annotations
from databases.wfdb_database import WfdbDatabase
from utils.ecg import LEADS
from utils.errors import DataError

logger = logging.getLogger(__name__)

FINDINGS = (
    *("Rhythms", "Electric axis of the heart", "Conduction abnormalities", "Extrasystolies", "Hypertrophies"),
    *("Cardiac pacing", "Ischemia", "Non-specific repolarization abnormalities", "Other states"),
)


@register_database
class Ludb(WfdbDatabase):
    """Lobachevsky University Electrocardiography Database; every record is of another person.

    It has no split. The beats at both ends of a record (the first and last second or so) are not annotated.
    """

    name = "ludb"
    title = "Lobachevsky University Electrocardiography Database 1.0.1"
    license = "ODC-By 1.0"
    doi = "10.1109/ACCESS.2020.3029211"
    size = 200
    lead_count = 12
    rates = (500,)
    sampling_rate = 500
    source = Source(
        "https://physionet.org/files/ludb/1.0.1/",
        {500: r"data/\d+\.(hea|dat|i|ii|iii|av[rlf]|v[1-6])"},
        tables=("ludb.csv",),
    )

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """``ludb.csv``: `FINDINGS`, and sex and age where the file has them, indexed by record number."""
        path = self.root / "ludb.csv"
        try:
            table = pd.read_csv(path, index_col="ID")
            return table[[*FINDINGS, *table.columns.intersection(["Sex", "Age"])]]
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist: point --data_dir at the folder of LUDB") from error
        except (ValueError, KeyError, pd.errors.ParserError) as error:
            raise DataError(f"{path} is not the table of LUDB ({error}): download it again") from error

    def _read_records(self) -> pd.DataFrame:
        self.check_folder()
        table = self.table
        folder = self.root / "data"
        stems = {path.stem for path in folder.glob("*.hea")}
        names = [str(number) for number in table.index if str(number) in stems]
        if not names:
            raise DataError(f"{folder} has no record of ludb (such as 1.hea): point --data_dir above it")
        if len(names) < len(table):
            logger.info(
                f"ludb: {len(names)} of {len(table)} records are in {self.root}, the others are left out"
            )
        records = pd.DataFrame(index=pd.Index(names, name="record"))
        records["patient"] = names
        records["path"] = [f"data/{name}" for name in names]
        records["sampling_rate"] = self.sampling_rate
        records["leads"] = [LEADS] * len(names)
        records["split"] = ""
        rows = table.loc[[int(name) for name in names]]
        if {"Age", "Sex"} <= set(rows.columns):
            records["age"] = pd.to_numeric(
                rows["Age"].astype(str).str.strip(" >\n"), errors="coerce"
            ).to_numpy()
            records["sex"] = rows["Sex"].astype(str).str.strip().to_numpy()
        return records

    def annotations(self, record: Any) -> Annotations:
        """Read the waves of all leads, and the findings as statements without a likelihood."""
        path = self.root / self.row(record)["path"]
        leads = [find_waves(read_annotations(path, lead.lower()).marks, lead) for lead in LEADS]
        waves = Waves(*(np.concatenate(columns) for columns in zip(*leads, strict=True)))
        findings = self.table.loc[int(record), list(FINDINGS)]
        statements = [line for cell in findings for line in finding_lines(cell)]
        return Annotations(waves=waves, statements=dict.fromkeys(statements, 0.0))


def finding_lines(cell: object) -> list[str]:
    """The findings of a cell of the table, in lower case; none for an empty one."""
    return [line.strip().lower() for line in cell.splitlines()] if isinstance(cell, str) else []

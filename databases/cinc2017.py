"""PhysioNet/CinC Challenge 2017: 8,528 recordings of one lead from a handheld device, 9 to 61 s at 300 Hz.

Clifford et al., Computing in Cardiology 44 (2017), doi:10.22489/CinC.2017.065-469; files at
doi:10.13026/d3hm-sf11.
"""

from __future__ import annotations

import functools
from typing import Any

import pandas as pd

from databases.base import Annotations, Source
from databases.registry import register_database
from databases.wfdb_database import FolderDatabase
from utils.errors import DataError

LABELS = {"N": "normal rhythm", "A": "atrial fibrillation", "O": "other rhythm", "~": "noise"}


@register_database
class Cinc2017(FolderDatabase):
    """Training set of the challenge of 2017, in one folder, with the third version of its labels.

    ``patient`` is the record: the files do not say who was recorded.
    """

    name = "cinc2017"
    title = "PhysioNet/CinC Challenge 2017 (training set) 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/d3hm-sf11"
    size = 8_528
    lead_count = 1
    rates = (300,)
    sampling_rate = 300
    pattern = "**/A[0-9]*.hea"
    annotators = ()
    source = Source(
        "https://physionet.org/files/challenge-2017/1.0.0/",
        {300: r"training/A\d\d/A\d{5}\.(hea|mat)"},
        tables=("REFERENCE-v3.csv",),
        extras=("LICENSE.txt",),
    )

    @functools.cached_property
    def labels(self) -> pd.Series:
        """Label (`LABELS`) of each record, from ``REFERENCE-v3.csv``."""
        path = self.root / "REFERENCE-v3.csv"
        try:
            labels = pd.read_csv(path, header=None, names=["record", "label"], index_col="record", dtype=str)[
                "label"
            ]
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not the table of labels of cinc2017 ({error})") from error
        if not set(labels) <= set(LABELS):
            unknown = labels[~labels.isin(LABELS)]
            raise DataError(
                f"{path}: record {unknown.index[0]} has the label {unknown.iloc[0]!r}, not one of N, A, O, ~"
            )
        return labels

    def annotations(self, record: Any) -> Annotations:
        """Read the label, as the only statement."""
        self.row(record)
        if record not in self.labels.index:
            raise DataError(f"{self.root / 'REFERENCE-v3.csv'} has no label for record {record}")
        return Annotations(statements={str(self.labels[record]): 100.0})

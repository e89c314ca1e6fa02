"""PTB-XL+: features and median beats of PTB-XL's ECGs by the programs 12SL, Uni-G and ECGDeli.

Strodthoff et al., PTB-XL+, a comprehensive electrocardiographic feature dataset, Scientific Data 10, 279
(2023), doi:10.1038/s41597-023-02153-8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from databases.base import Source
from databases.registry import register_database
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header
from utils.errors import DataError, UsageError, nearest

PROGRAMS = ("12sl", "unig", "ecgdeli")


@register_database
class PtbxlPlus(FolderDatabase):
    """PTB-XL+. The records are median beats by 12SL and Uni-G, 12 leads at 500 Hz.

    A record is named like ``12sl/00001``: program and number of PTB-XL's ECG. `features` gives a table of
    measurements, indexed by PTB-XL's ``ecg_id``.
    """

    name = "ptbxl_plus"
    title = "PTB-XL+ 1.0.1"
    license = "CC BY 4.0"
    doi = "10.1038/s41597-023-02153-8"
    lead_count = 12
    rates = (500,)
    sampling_rate = 500
    pattern = "median_beats/*/*/*_medians.hea"
    annotators = ()
    source = Source(
        "https://physionet.org/files/ptb-xl-plus/1.0.1/",
        {500: r"median_beats/(12sl|unig)/\d+/\d+_medians\.(hea|dat)"},
        tables=tuple(f"features/{program}_features.csv" for program in PROGRAMS),
        extras=("LICENSE.txt", "features/feature_description.csv", "labels/12sl_statements.csv"),
    )

    def record_name(self, header: Path) -> str:
        """Program and number, such as ``12sl/00001``."""
        return f"{header.parts[-3]}/{header.stem.removesuffix('_medians')}"

    def describe(self, header: Header) -> dict[str, Any]:
        """Number of the ECG in PTB-XL (who it is of stands in PTB-XL's table), and the program."""
        number = header.path.name.removesuffix("_medians")
        return {"patient": number, "ecg_id": int(number), "program": header.path.parts[-3]}

    def features(self, program: str) -> pd.DataFrame:
        """Measurements of a program (12sl, unig or ecgdeli), one row for each ECG."""
        if program not in PROGRAMS:
            raise UsageError(f"unknown program '{program}' of ptbxl_plus: {nearest(program, PROGRAMS)}")
        path = self.root / "features" / f"{program}_features.csv"
        try:
            return pd.read_csv(path, index_col="ecg_id")
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not the table of features of ptbxl_plus ({error})") from error

"""MIT-BIH Supraventricular Arrhythmia Database: 78 two-lead half-hours of 128 Hz, every beat annotated.

Greenwald, PhD thesis, Harvard-MIT Division of Health Sciences and Technology (1990); files at
doi:10.13026/C2V30W.
"""

from __future__ import annotations

from typing import ClassVar

from databases.base import Source
from databases.registry import register_database
from databases.wfdb_database import HolterDatabase


@register_database
class Svdb(HolterDatabase):
    """MIT-BIH Supraventricular Arrhythmia Database; no table of patients was published."""

    name = "svdb"
    title = "MIT-BIH Supraventricular Arrhythmia Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2V30W"
    size = 78
    lead_count = 2
    rates = (128,)
    sampling_rate = 128
    train = tuple(str(number) for number in (*range(800, 813), *range(820, 830), *range(840, 856)))
    test = tuple(str(number) for number in range(856, 895))
    # 8 of 39 training records; 8 s windows of 801 and 803 have all AAMI classes: N 253, SVEB 17, VEB 179, F 1
    val = frozenset({"801", "803", "811", "822", "828", "844", "849", "853"})
    split_names: ClassVar = {"train": "31 of 800-855", "val": "8 of 800-855", "test": "856-894"}
    source = Source("https://physionet.org/files/svdb/1.0.0/", {128: r"\d{3}\.(hea|dat|atr)"})

"""MIT-BIH Arrhythmia Database: two-lead half-hours of 360 Hz with an annotation for every beat.

Moody and Mark, IEEE Engineering in Medicine and Biology 20(3), 45-50 (2001), doi:10.1109/51.932724; files at
doi:10.13026/C2F305. The split into DS1 and DS2, without the four records of paced patients (102, 104, 107,
217), is that of de Chazal et al. (2004), doi:10.1109/TBME.2004.827359.
"""

from __future__ import annotations

from typing import ClassVar

from databases.base import Source
from databases.registry import register_database
from databases.wfdb_database import HolterDatabase


@register_database
class Mitdb(HolterDatabase):
    """MIT-BIH Arrhythmia Database."""

    name = "mitdb"
    title = "MIT-BIH Arrhythmia Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2F305"
    size = 44
    lead_count = 2
    rates = (360,)
    sampling_rate = 360
    # fmt: off
    train = ("101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
             "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230")
    test = ("100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
            "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234")
    # fmt: on
    # the header of 202 says that it was taken from the same tape as 201
    moved = ("202",)
    patients: ClassVar = {"202": "201"}
    # 4 of 22 training patients, with 8 s windows of every AAMI class: N 658, SVEB 61, VEB 172, F 9
    val = frozenset({"114", "205", "215", "220"})
    split_names: ClassVar = {"train": "DS1 and 202", "val": "4 patients of DS1", "test": "DS2 without 202"}
    source = Source("https://physionet.org/files/mitdb/1.0.0/", {360: r"\d{3}\.(hea|dat|atr)"})

"""St Petersburg INCART 12-lead Arrhythmia Database: 75 half-hours of 32 patients at 257 Hz.

Tihonenko et al. (2008), doi:10.13026/C2V88N.
"""

from __future__ import annotations

from typing import ClassVar

from databases.base import Source
from databases.registry import register_database
from databases.wfdb_database import HolterDatabase

_NAMES = tuple(f"I{number:02}" for number in range(1, 76))
# Number of records of patient 1, 2, 3, ..., in order (files-patients-diagnoses.txt of the database); headers
# name the patient in a line such as "patient 7", which is compared.
# fmt: off
_RECORDS = (2, 3, 2, 1, 3, 3, 1, 2, 2, 3, 2, 2, 2, 4, 2, 3,
            2, 2, 2, 3, 2, 2, 3, 3, 2, 3, 3, 3, 2, 2, 2, 2)
# fmt: on
_PATIENTS = [str(patient) for patient, count in enumerate(_RECORDS, 1) for _ in range(count)]


@register_database
class Incartdb(HolterDatabase):
    """St Petersburg INCART Database."""

    name = "incartdb"
    title = "St Petersburg INCART 12-lead Arrhythmia Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2V88N"
    size = 75
    lead_count = 12
    rates = (257,)
    sampling_rate = 257
    train = _NAMES[:37]  # patients 1 to 16
    test = _NAMES[37:]
    # 3 of 16 training patients (2, 6, 10), taken at even distances
    val = frozenset({"I03", "I04", "I05", "I12", "I13", "I14", "I20", "I21", "I22"})
    patients: ClassVar = dict(zip(_NAMES, _PATIENTS, strict=True))
    split_names: ClassVar = {
        "train": "patients 1-16 without 2, 6, 10",
        "val": "patients 2, 6, 10",
        "test": "patients 17-32",
    }
    source = Source(
        "https://physionet.org/files/incartdb/1.0.0/",
        {257: r"I\d\d\.(hea|dat|atr)"},
        extras=("RECORDS", "LICENSE.txt", "files-patients-diagnoses.txt"),
    )

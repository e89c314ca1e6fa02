"""PhysioNet/CinC Challenges 2020 and 2021: 12-lead ECGs of seven sources with SNOMED CT codes.

Perez Alday et al., Physiol. Meas. 41, 124003 (2020), doi:10.1088/1361-6579/abc960, files at
doi:10.13026/dvyd-kd57; Reyna et al., Computing in Cardiology 48 (2021),
doi:10.23919/CinC53138.2021.9662687, files at doi:10.13026/34va-7q14.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from databases.base import Annotations, Recording
from databases.snomed import abbreviate
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header, RecordError

# prefix of a record's name -> source
SOURCES = {
    "A": "CPSC 2018", "Q": "CPSC 2018, further records", "I": "St Petersburg INCART", "S": "PTB",
    "HR": "PTB-XL", "E": "Georgia", "JS": "Chapman-Shaoxing and Ningbo",
}  # fmt: skip
PTB_GAIN = 1e6  # units per mV, beyond what any recorder has


class ChallengeDatabase(FolderDatabase):
    """What both challenges share.

    ``records`` has the columns ``source`` (`SOURCES`), ``age``, ``sex`` and ``codes`` (SNOMED CT). Sampling
    rates differ: 257, 500 and 1000 Hz. ``patient`` is the record: the files do not say who was recorded,
    though several records of the sources PTB, PTB-XL and INCART are of one person.
    """

    license = "CC BY 4.0"
    sampling_rate = 0
    pattern = "**/[A-Z]*[0-9].hea"
    annotators = ()
    year: ClassVar[int]

    def describe(self, header: Header) -> dict[str, Any]:
        """Source, age, sex and codes."""
        prefix = re.match(r"[A-Z]+", header.path.name)
        if not prefix or prefix[0] not in SOURCES:
            raise RecordError(header.path, f"is of no source of {self.name} ({', '.join(SOURCES)})")
        said = dict(re.findall(r"^\W*(\w+):[ \t]*(.*?)\s*$", "\n".join(header.comments), re.MULTILINE))
        age = re.fullmatch(r"\d+(\.\d+)?", said.get("Age", ""))
        sex = said.get("Sex", "").upper()[:1]
        return {
            "source": SOURCES[prefix[0]],
            "age": float(age[0]) if age else float("nan"),
            "sex": sex if sex in ("M", "F") else "",
            "gain": header.signals[0].gain or float("nan"),
            "codes": tuple(re.findall(r"\d+", said.get("Dx", ""))),
        }

    def correct(self, recording: Recording, row: pd.Series) -> Recording:
        """Take 2,000 units per mV where headers of the source PTB state 2,000,000, with a note."""
        if row["gain"] < PTB_GAIN:
            return recording
        note = "The header states 2,000,000 units per mV; 2,000 was taken, as in the PTB database."
        signal = recording.signal * recording.signal.dtype.type(1000)
        return replace(recording, signal=signal, notes=[*recording.notes, note])

    def annotations(self, record: Any) -> Annotations:
        """Statements: the abbreviation of a class that is scored, else the SNOMED code."""
        codes = self.row(record)["codes"]
        return Annotations(statements=dict.fromkeys((abbreviate(code, self.year) for code in codes), 100.0))

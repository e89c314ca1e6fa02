"""MIT-BIH Noise Stress Test Database: two records of MIT-BIH with calibrated noise, and the noise itself.

Moody, Muldrow and Mark, Computers in Cardiology 11, 381-384 (1984); files at doi:10.13026/C2HS3T.
"""

from __future__ import annotations

import re
from typing import Any

from databases.base import Source
from databases.registry import register_database
from databases.wfdb_database import FolderDatabase
from databases.wfdb_header import Header


@register_database
class Nstdb(FolderDatabase):
    """MIT-BIH Noise Stress Test Database.

    ``records`` has the column ``snr_db``. The records ``bw``, ``em`` and ``ma`` are baseline wander,
    electrode motion and muscle noise alone, without annotations; the others are MIT-BIH records 118 and 119.
    """

    name = "nstdb"
    title = "MIT-BIH Noise Stress Test Database 1.0.0"
    license = "ODC-By 1.0"
    doi = "10.13026/C2HS3T"
    size = 15
    lead_count = 2
    rates = (360,)
    sampling_rate = 360
    source = Source(
        "https://physionet.org/files/nstdb/1.0.0/", {360: r"(bw|em|ma|11[89]e[\d_]\d)\.(hea|dat|atr)"}
    )

    def describe(self, header: Header) -> dict[str, Any]:
        """Patient, and signal-to-noise ratio, from the name of the record (118e_6: -6 dB)."""
        parts = re.fullmatch(r"(11[89])e(_?)(\d+)", header.path.name)
        if not parts:
            return {"snr_db": float("nan")}
        return {"patient": parts[1], "snr_db": float(parts[3]) * (-1 if parts[2] else 1)}

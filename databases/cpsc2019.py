"""China Physiological Signal Challenge 2019: 2,000 records of one lead, 10 s at 500 Hz, with R-peaks.

Gao et al., J. Med. Imaging Health Inform. 9, 1853 (2019), doi:10.1166/jmihi.2019.2800.
"""

from __future__ import annotations

from typing import Any

from databases.archives import Archives
from databases.base import Annotations
from databases.mat_database import MatDatabase, beats_of, load_mat
from databases.registry import register_database


@register_database
class Cpsc2019(MatDatabase):
    """Training set: ``data/data_00001.mat`` with ``ref/R_00001.mat``.

    ``patient`` is the record: the files do not say who was recorded.
    """

    name = "cpsc2019"
    title = "China Physiological Signal Challenge 2019 (training set)"
    license = "as published by the challenge"
    doi = "10.1166/jmihi.2019.2800"
    size = 2_000
    lead_count = 1
    rates = (500,)
    sampling_rate = 500
    pattern = "data/data_*.mat"
    source = Archives(
        urls=("http://2019.icbeb.org/file/train.rar",),
    )

    def annotations(self, record: Any) -> Annotations:
        """Read the R-peaks, as beats ``N``."""
        name = str(record).replace("data_", "R_", 1)
        self.row(record)
        peaks = load_mat(self.root / "ref" / f"{name}.mat", "R_peak").ravel()
        return beats_of(peaks, ["N"] * len(peaks))

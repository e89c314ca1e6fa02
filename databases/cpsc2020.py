"""China Physiological Signal Challenge 2020: ten day-long records of one lead, 400 Hz, with premature beats.

Cai et al., J. Med. Imaging Health Inform. 10, 2827 (2020), doi:10.1166/jmihi.2020.3289.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from databases.archives import Archives
from databases.base import Annotations
from databases.mat_database import MatDatabase, beats_of, load_mat
from databases.registry import register_database
from utils.errors import DataError


@register_database
class Cpsc2020(MatDatabase):
    """Training set: ``data/A01.mat`` with ``ref/R01.mat``; every record is of another person.

    Marks are the supraventricular (``S``) and ventricular (``V``) premature beats alone.
    """

    name = "cpsc2020"
    title = "China Physiological Signal Challenge 2020 (training set)"
    license = "as published by the challenge"
    doi = "10.1166/jmihi.2020.3289"
    size = 10
    lead_count = 1
    rates = (400,)
    sampling_rate = 400
    pattern = "data/A[0-9]*.mat"
    source = Archives(
        urls=("https://opensz.oss-cn-beijing.aliyuncs.com/ICBEB2020/file/TrainingSet.zip",),
        members=r"(?:.*/)?((?:data|ref)/[AR]\d+\.mat)",
    )

    def annotations(self, record: Any) -> Annotations:
        """Read the premature beats."""
        self.row(record)
        path = self.root / "ref" / f"R{str(record)[1:]}.mat"
        reference = load_mat(path, "ref")
        if not reference.dtype.names or not {"S_ref", "V_ref"} <= set(reference.dtype.names):
            raise DataError(f"{path}: 'ref' has no fields S_ref and V_ref")
        kinds = {kind: np.ravel(reference[f"{kind}_ref"][0, 0]) for kind in "SV"}
        return beats_of(np.concatenate([*kinds.values()]), np.repeat([*kinds], [*map(len, kinds.values())]))

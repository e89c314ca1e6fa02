"""Icentia11k Continuous ECG Database: one lead of 11,000 patients at 250 Hz, every beat annotated.

Tan et al., Icentia11k: an unsupervised representation learning dataset for arrhythmia subtype discovery
(2019), arXiv:1910.09570; files at doi:10.13026/kk0v-r952: ``p00/p00000/p00000_s00.{hea,dat,atr}``, up to 50
segments of about 70 minutes a patient.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from databases.base import Recording, Source
from databases.registry import register_database
from databases.wfdb_database import WfdbDatabase
from utils.errors import DataError, UsageError

logger = logging.getLogger(__name__)


@register_database
class Icentia11k(WfdbDatabase):
    """Icentia11k; each segment is a record.

    It has no official split: patients go by the last digit of their number, 0-3 to training, 4 to validation,
    5-9 to test.
    """

    name = "icentia11k"
    title = "Icentia11k Single Lead Continuous Raw Electrocardiogram Dataset 1.0"
    license = "CC BY-NC-SA 4.0"
    doi = "10.13026/kk0v-r952"
    lead_count = 1
    rates = (250,)
    sampling_rate = 250
    split_names: ClassVar = {
        "train": "patients ending in 0-3",
        "val": "patients ending in 4",
        "test": "patients ending in 5-9",
    }
    source = Source(
        "https://physionet.org/files/icentia11k-continuous-ecg/1.0/",
        {250: r"p\d\d/p\d{5}/p\d{5}_s\d\d\.(hea|dat|atr)"},
    )

    def _read_records(self) -> pd.DataFrame:
        self.check_folder()
        headers = sorted(self.root.rglob("p?????_s??.hea"))
        if not headers:
            raise DataError(
                f"{self.root} has no record of icentia11k (such as p00/p00000/p00000_s00.hea): "
                "point --data_dir at the folder that holds p00"
            )
        paths = [header.relative_to(self.root).with_suffix("") for header in headers]
        table = pd.DataFrame(
            {
                "patient": [path.name[:6] for path in paths],
                "path": [path.as_posix() for path in paths],
                "sampling_rate": self.sampling_rate,
                "leads": [("ECG",)] * len(paths),
            },
            index=pd.Index([path.name for path in paths], name="record"),
        )
        digit = table["patient"].str[-1].astype(int)
        table["split"] = digit.map(lambda last: "train" if last < 4 else "val" if last == 4 else "test")
        logger.info(f"icentia11k: {table['patient'].nunique()} of 11,000 patients are in {self.root}")
        return table

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> Recording:
        """Read a recording or a part of it in mV; its only signal is called ECG, whatever the header says."""
        if any(lead != "ECG" for lead in leads or ()):
            raise UsageError(f"icentia11k has one lead, ECG, not {', '.join(leads or ())}")
        return replace(super().read(record, None, start, stop, dtype), leads=("ECG",))

"""China Physiological Signal Challenge 2018: 6,877 records of 12 leads, 6 to 60 s at 500 Hz, nine classes.

Liu et al., J. Med. Imaging Health Inform. 8, 1368 (2018), doi:10.1166/jmihi.2018.2442.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from databases.archives import Archives
from databases.base import Annotations
from databases.mat_database import MatDatabase, load_mat
from databases.registry import register_database
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError

LABELS = ("Normal", "AF", "I-AVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")


@register_database
class Cpsc2018(MatDatabase):
    """Training set: ``A0001.mat`` ... in one folder.

    ``REFERENCE.csv`` has up to three classes a record; without it there are no statements. ``patient`` is the
    record: the files do not say who was recorded.
    """

    name = "cpsc2018"
    title = "China Physiological Signal Challenge 2018 (training set)"
    license = "as published by the challenge"
    doi = "10.1166/jmihi.2018.2442"
    size = 6_877
    lead_count = 12
    rates = (500,)
    sampling_rate = 500
    leads = DISPLAY_NAMES
    pattern = "A[0-9]*.mat"
    source = Archives(
        urls=(
            "http://2018.icbeb.org/file/REFERENCE.csv",
            "http://hhbucket.oss-cn-hongkong.aliyuncs.com/TrainingSet1.zip",
            "http://hhbucket.oss-cn-hongkong.aliyuncs.com/TrainingSet2.zip",
            "http://hhbucket.oss-cn-hongkong.aliyuncs.com/TrainingSet3.zip",
        ),
        members=r"(?:.*/)?(A\d+\.mat)",
    )

    def _signal(self, path: Path) -> np.ndarray:
        ecg = load_mat(path, "ECG")
        if not ecg.dtype.names or "data" not in ecg.dtype.names:
            raise DataError(f"{path}: 'ECG' has no field 'data'")
        return ecg["data"][0, 0].T

    def subject(self, record: Any) -> dict[str, Any]:
        """Age in years and sex of a record, NaN and "" where unknown."""
        ecg = load_mat(self.root / f"{self.row(record)['path']}.mat", "ECG")[0, 0]
        age, sex = np.ravel(ecg["age"]), "".join(np.ravel(ecg["sex"]).astype(str))
        return {"age": float(age[0]) if age.size else float("nan"), "sex": sex[:1].upper()}

    @functools.cached_property
    def labels(self) -> pd.DataFrame:
        """Up to three classes, 1 to 9 (`LABELS`), of each record, from ``REFERENCE.csv``; may be absent."""
        path = self.root / "REFERENCE.csv"
        if not path.exists():
            return pd.DataFrame(columns=["First_label", "Second_label", "Third_label"])
        try:
            return pd.read_csv(path, index_col="Recording")
        except ValueError as error:
            raise DataError(f"{path}: not the table of labels of cpsc2018 ({error})") from error

    def annotations(self, record: Any) -> Annotations:
        """Read the classes as statements."""
        self.row(record)
        if record not in self.labels.index:
            return Annotations()
        numbers = pd.to_numeric(self.labels.loc[record]).dropna().astype(int)
        wrong = numbers[(numbers < 1) | (numbers > len(LABELS))]
        if len(wrong):
            raise DataError(
                f"{self.root / 'REFERENCE.csv'}: record {record} has the class {wrong.iloc[0]}, not 1 to 9"
            )
        return Annotations(statements={LABELS[number - 1]: 100.0 for number in numbers})

"""A synthetic database of PTB-XL's size, made in seconds from a few hundred simulated records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from databases.ptbxl import DATABASE_CSV, STATEMENTS_CSV
from databases.synthetic import write_dataset
from databases.wfdb_files import write_record
from utils.ecg import LEADS

_SIMULATED = 300


def write_large_dataset(to: Path, records: int) -> Path:
    """Simulate some records and write them again and again as other patients.

    Each copy is moved by some microvolts, so that no two recordings are equal; headers and checksums are
    right. It is good for measuring, not for training.
    """
    simulated = write_dataset(to / "simulated", min(records, _SIMULATED))
    table = pd.read_csv(simulated / DATABASE_CSV)
    waves = [
        np.fromfile(simulated / f"{name}.dat", dtype="<i2").reshape(-1, len(LEADS))
        for name in table["filename_lr"]
    ]
    folder = to / "large"
    rows = np.arange(records)
    turn, source = np.divmod(rows, len(table))
    large = table.iloc[source].reset_index(drop=True)
    large["ecg_id"] = rows + 1
    large["patient_id"] += turn * (table["patient_id"].max() + 1)  # the copies of a patient are another one
    for rate, suffix in ((100, "lr"), (500, "hr")):
        large[f"filename_{suffix}"] = [f"records{rate}/{i // 1000:02d}000/{i:05d}_{suffix}" for i in rows + 1]
    for name, k, shift in zip(large["filename_lr"], source, turn, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path.parent, path.name, waves[k] + np.int16(shift), 100)
    large.to_csv(folder / DATABASE_CSV, index=False)
    (folder / STATEMENTS_CSV).write_bytes((simulated / STATEMENTS_CSV).read_bytes())
    return folder

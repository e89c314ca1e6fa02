"""Recordings of several formats with a table of them, as a user has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from databases.synthetic.dataset import write_dataset
from databases.wfdb_files import write_record
from databases.wfdb_reader import read_record
from utils.ecg import LEADS


def write_table(path: Path, count: int) -> None:
    """Write a table and, in ``ecg`` beside it, CSV, .npy and WFDB files of synthetic ECGs (10 s, 100 Hz)."""
    folder = path.parent / "ecg"
    folder.mkdir(parents=True)
    source = write_dataset(path.parent / "synthetic", count)
    rows = []
    for number, header in enumerate(sorted(source.glob("records100/*/*.hea"))[:count]):
        signal = read_record(header.with_suffix("")).signal
        name = f"{number + 1:04}"
        if number % 3 == 0:
            pd.DataFrame(signal.round(4), columns=list(LEADS)).to_csv(folder / f"{name}.csv", index=False)
        elif number % 3 == 1:
            np.save(folder / f"{name}.npy", signal)
        else:
            write_record(folder, name, np.rint(signal * 1000).astype(np.int16), 100, LEADS)
        wfdb = number % 3 == 2
        rows.append(
            {
                "path": f"ecg/{name}.{('csv', 'npy', 'hea')[number % 3]}",
                "patient": f"p{number // 2}",
                "labels": ("NORM", "AF", "MI;AF", "NORM")[number % 4],
                "split": "train" if number < count // 2 else "val" if number < 3 * count // 4 else "test",
                "age": 40 + number,
                "sampling_rate": None if wfdb else 100,
                "units": None if wfdb else "mV",
            }
        )
    pd.DataFrame(rows).to_csv(path, index=False)

"""The training ECGs that prototypes come from, read one by one."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from databases.ptbxl import DATABASE_CSV, read_database
from databases.ptbxl_signals import read_with_wfdb
from databases.wfdb_files import UNITS_PER_MV
from training.predictor import Predictor
from utils.errors import DataError

ReadSource = Callable[[int], np.ndarray | None]


def source_reader(data_dir: str | os.PathLike, sampling_rate: int) -> ReadSource:
    """Give a function that reads single records of PTB-XL and remembers them."""
    filenames = read_database(data_dir, sampling_rate)["filename"].to_dict()

    @functools.cache
    def read(ecg_id: int) -> np.ndarray | None:
        if ecg_id not in filenames:
            return None
        path = Path(data_dir) / filenames[ecg_id]
        if not all(path.with_name(path.name + end).exists() for end in (".hea", ".dat")):
            return None
        try:
            return read_with_wfdb(path, sampling_rate).astype(np.float32) / UNITS_PER_MV
        except DataError as error:
            raise DataError(
                f"ecg_id {ecg_id}, {path}: {error}; download it again (`python -m databases.download ptbxl` "
                "checks all files)"
            ) from error

    return read


def find_source_reader(predictor: Predictor, data_dir: str | os.PathLike | None = None) -> ReadSource | None:
    """Give a reader of the prototypes' ECGs where they can be found."""
    if data_dir is None:
        data_dir = predictor.card.get("config", {}).get("data_dir")
        if not data_dir or not (Path(data_dir) / DATABASE_CSV).is_file():
            return None
    return source_reader(data_dir, predictor.sampling_rate)

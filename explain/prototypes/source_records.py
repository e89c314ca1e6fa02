"""The training ECGs that prototypes come from, read one by one."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from databases.ptbxl import DATABASE_CSV, Ptbxl
from training.predictor import Predictor
from utils.errors import DataError

ReadSource = Callable[[int], np.ndarray | None]


def source_reader(data_dir: str | os.PathLike, sampling_rate: int) -> ReadSource:
    """Give a function that reads single records of PTB-XL and remembers them."""
    database = Ptbxl(data_dir, sampling_rate)
    paths = database.records["path"]

    @functools.cache
    def read(ecg_id: int) -> np.ndarray | None:
        if ecg_id not in paths.index:
            return None
        path = database.root / paths[ecg_id]
        if not all(path.with_name(path.name + end).exists() for end in (".hea", ".dat")):
            return None
        try:
            return database.read(ecg_id).signal
        except DataError as error:
            raise DataError(
                f"ecg_id {ecg_id}, {error} (`python -m databases.download ptbxl` checks all files)"
            ) from error

    return read


def find_source_reader(predictor: Predictor, data_dir: str | os.PathLike | None = None) -> ReadSource | None:
    """Give a reader of the prototypes' ECGs where they can be found."""
    if data_dir is None:
        data_dir = predictor.card.config.get("data_dir")
        if not data_dir or not (Path(data_dir) / DATABASE_CSV).is_file():
            return None
    return source_reader(data_dir, predictor.sampling_rate)

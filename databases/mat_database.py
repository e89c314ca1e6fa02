"""Databases whose records are MATLAB files, as those of the China Physiological Signal Challenges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from databases.base import Annotations, Database, Marks, Recording
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


def load_mat(path: Path, name: str) -> np.ndarray:
    """Read a variable of a MATLAB file; DataError names the file."""
    content = _attempt(path, lambda io: io.loadmat(path, variable_names=[name]))
    if name not in content:
        raise DataError(f"{path}: has no variable '{name}'")
    return content[name]


def _attempt(path: Path, read: Callable[[Any], Any]) -> Any:
    """What `read` gives of a MATLAB file; DataError names the file."""
    import scipy.io  # slow to import

    if not path.exists():  # of which SciPy says that it needs the name of a file
        raise DataError(f"{path} does not exist: copy it from the database")
    try:
        return read(scipy.io)
    except Exception as error:  # SciPy raises nearly every built-in type on damaged files
        raise DataError(f"{path}: not a readable MATLAB file ({type(error).__name__}: {error})") from error


class MatDatabase(Database):
    """Records of one sampling rate in MATLAB files, one each."""

    sampling_rate: ClassVar[int]
    leads: ClassVar[tuple[str, ...]] = ("ECG",)
    pattern: ClassVar[str]

    def _read_records(self) -> pd.DataFrame:
        files = sorted(self.root.glob(self.pattern))
        if not files:
            raise DataError(
                f"{self.root} has no record of {self.name} ({self.pattern}): point --data_dir at its folder"
            )
        rows = {
            file.stem: {
                "patient": file.stem,
                "path": file.relative_to(self.root).with_suffix("").as_posix(),
                "sampling_rate": self.sampling_rate,
                "leads": self.leads,
                "split": "",
            }
            for file in files
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("record")

    def _signal(self, path: Path) -> np.ndarray:
        """Signal (T, leads) of a file in mV."""
        return load_mat(path, "ecg").reshape(-1, 1)

    def samples(self, record: Any) -> int:
        """Length of the variable ``ecg``, without reading it; of other layouts that of the signal."""
        path = self.root / f"{self.row(record)['path']}.mat"
        shapes = {name: shape for name, shape, _ in _attempt(path, lambda io: io.whosmat(path))}
        return math.prod(shapes["ecg"]) if "ecg" in shapes else len(self._signal(path))

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Recording:
        """Read a recording or a part of it in mV."""
        row = self.row(record)
        path = self.root / f"{row['path']}.mat"
        names = [lead.upper() for lead in row["leads"]]
        chosen = row["leads"] if leads is None else leads
        for lead in chosen:
            if lead.upper() not in names:
                raise DataError(f"{path}: has no lead {lead} (it has {', '.join(row['leads'])})")
        signal = self._signal(path)
        if signal.ndim != 2 or signal.shape[1] != len(names) or signal.dtype.kind not in "fiu":
            raise DataError(f"{path}: the signal has shape {signal.shape}, expected (samples, {len(names)})")
        if not len(signal):
            raise DataError(f"{path}: the recording has no samples: copy the file again, or leave it out")
        first, last = start or 0, len(signal) if stop is None else stop
        if first < 0 or last <= first or last > len(signal):
            raise UsageError(f"{path} has {len(signal)} samples: there is no part from {start} to {stop}")
        columns = [names.index(lead.upper()) for lead in chosen]
        part = signal[first:last, columns].astype(np.float32)
        spelled = tuple(
            names[column] if names[column] in LEADS else row["leads"][column] for column in columns
        )
        return Recording(part, float(self.sampling_rate), spelled, [], str(record), path)


def beats_of(samples: np.ndarray, symbols: Sequence[str] | np.ndarray) -> Annotations:
    """Annotations of beats, brought into the order of time."""
    order = np.argsort(samples, kind="stable")
    return Annotations(Marks(np.asarray(samples, np.int64)[order], np.asarray(symbols, dtype=str)[order]))

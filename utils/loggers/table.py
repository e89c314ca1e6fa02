"""Log to metrics.csv."""

from __future__ import annotations

from typing import Any

import pandas as pd

from utils.loggers.base import RunInfo, TrainingLogger, register_logger
from utils.tables import write_csv


@register_logger("csv")
class CsvLogger(TrainingLogger):
    """``metrics.csv``, one row an epoch, written whole after each, because columns may be added."""

    writes = "metrics.csv"

    def __init__(self, info: RunInfo):
        self._path, self._rows = info.folder / "metrics.csv", list(info.history)

    def log(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        write_csv(self._path, pd.DataFrame(self._rows, dtype=object))

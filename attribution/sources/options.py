"""Options of ``python -m attribution.build``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocessing.options import FoldOptions
from utils.config import option


@dataclass
class BuildOptions(FoldOptions):
    """Options of the windows; `attribution.build` says which apply to a database."""

    reference: bool = option(
        False,
        "the published study's own choices: every annotation counts as a beat, leads by column, no "
        "validation split (mitdb, svdb, incartdb); its 22 targets at 500 Hz (ptbxl)",
    )
    limit: int | None = option(
        None,
        "at most this number of records, spread evenly (icentia11k: patients, of whom 200 give the study's "
        "12,000 windows and all 11,000 take many hours)",
        min=1,
    )
    task: str | None = option(None, "label set of ptbxl (default: superdiagnostic)")
    sampling_rate: int | None = option(
        None, "in Hz, for ptbxl, synthetic and ludb (default: 100)", min=50, max=2000
    )
    windows_per_patient: int = option(60, "icentia11k: at most this number of windows of a patient", min=1)
    partial: bool = option(False, "ptbxl: leave out records whose files are absent")
    cache_dir: str | None = option(
        None, "ptbxl, synthetic: where the cache of recordings goes", scope="machine"
    )

    @property
    def splitting(self) -> dict[str, Any]:
        """How `load_dataset` is to split the records."""
        return {"split": self.split, "folds": self.folds, "fold": self.fold}


def spread(count: int, limit: int | None) -> np.ndarray:
    """Choose evenly among items in order, first and last included."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64)

"""What every dataset builder is told, and choices they share."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from utils.errors import UsageError


@dataclass(frozen=True)
class BuildOptions:
    """Options of `python -m attribution.build`.

    ``reference``: make the published study's own choices.
    ``limit``: at most so many records, spread evenly over those there are.
    ``task``: label set (ptbxl, synthetic).
    ``sampling_rate``: in Hz (ptbxl, synthetic, ludb).
    ``windows_per_patient``: at most so many windows of one patient (icentia11k).
    ``cache_dir``: where the cache of recordings goes (ptbxl, synthetic).
    ``partial``: leave out records whose files are absent (ptbxl).
    """

    reference: bool = False
    limit: int | None = None
    task: str | None = None
    sampling_rate: int | None = None
    windows_per_patient: int = 60
    cache_dir: str | os.PathLike | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, not {self.limit}")
        if self.windows_per_patient < 1:
            raise UsageError(f"windows_per_patient must be at least 1, not {self.windows_per_patient}")
        if self.sampling_rate is not None and not 50 <= self.sampling_rate <= 2000:
            raise UsageError(f"sampling_rate must be 50 to 2000 Hz, not {self.sampling_rate}")


def spread(count: int, limit: int | None) -> np.ndarray:
    """Choose evenly among things in order, first and last included."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64)

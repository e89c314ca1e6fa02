"""Writing WFDB records in format 16, the .hea and .dat pair that PTB-XL uses, and what readers share.

Format: https://wfdb.io/spec/header-files.html and https://wfdb.io/spec/signal-files.html.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.ecg import LEADS
from utils.errors import DataError

UNITS_PER_MV = 1000
INVALID_SAMPLE = -32768  # format 16 reserves it for "no sample here"


def import_wfdb() -> ModuleType:
    """Import wfdb, which is slow to import and not needed to read all of PTB-XL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("wfdb")


def to_int16(signal_mv: np.ndarray) -> np.ndarray:
    """Round millivolts to PTB-XL's resolution of 1 microvolt."""
    microvolts = np.rint(np.asarray(signal_mv, dtype=np.float64) * UNITS_PER_MV)
    if not np.all(np.abs(microvolts) < -INVALID_SAMPLE):  # NaN fails this comparison too
        raise DataError(
            "the signal has NaN or infinite values, or values beyond 32.767 mV: format 16 holds neither"
        )
    return microvolts.astype(np.int16)


def checksums(samples: np.ndarray) -> np.ndarray:
    """Per-lead checksums as WFDB headers hold them: the sum of the samples modulo 65536.

    Shapes: samples (T, leads) -> (leads,).
    """
    return samples.sum(axis=0, dtype=np.int64) % 65536


def write_record(
    folder: str | os.PathLike,
    name: str,
    samples: np.ndarray,
    sampling_rate: int,
    leads: Sequence[str] = LEADS,
) -> None:
    """Write ``name.dat`` and ``name.hea``, with the initial values and checksums of every lead.

    Shapes: samples (T, leads).
    """
    if samples.dtype != np.int16 or samples.ndim != 2 or samples.shape[1] != len(leads) or not len(samples):
        raise DataError(
            f"record {name}: expected int16 samples of shape (T, {len(leads)}), got {samples.dtype} "
            f"of shape {samples.shape}; convert millivolts with to_int16"
        )
    header = [f"{name} {len(leads)} {sampling_rate} {len(samples)}"]
    for lead, first, checksum in zip(leads, samples[0], checksums(samples), strict=True):
        header.append(f"{name}.dat 16 {UNITS_PER_MV}.0(0)/mV 16 0 {first} {checksum} 0 {lead}")
    folder = Path(folder)
    (folder / f"{name}.dat").write_bytes(samples.astype("<i2").tobytes())
    (folder / f"{name}.hea").write_text("\n".join(header) + "\n", encoding="ascii")

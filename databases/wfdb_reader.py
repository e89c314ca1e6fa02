"""Single WFDB records: some leads in mV and their annotations, with errors that name the record."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from databases.wfdb_files import import_wfdb
from utils.ecg import unit_in_millivolts
from utils.errors import DataError

_REMEDY = "download its files again"
_END_OF_ANNOTATIONS = b"\0\0"


class Annotations(NamedTuple):
    """Annotations of one record, in order of time.

    ``sample`` (M,): positions.
    ``symbol`` (M,): physioNet's symbols.
    """

    sample: np.ndarray
    symbol: np.ndarray


def check_folder(data_dir: str | os.PathLike, dataset: str) -> Path:
    """Make sure that the folder of a dataset is there."""
    folder = Path(data_dir)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: point --data_dir at the one with the records of {dataset}")
    return folder


def read_header(path: Path, sampling_rate: int) -> Any:
    """Read a header file."""
    header = _read(lambda wfdb: wfdb.rdheader(os.fspath(path)), path, ".hea")
    if not header.sig_name:
        raise DataError(f"record {path}: its header lists no signal; {_REMEDY}")
    if header.fs != sampling_rate:
        raise DataError(
            f"record {path}: its header says {header.fs:g} Hz, the records of this dataset have "
            f"{sampling_rate} Hz; is this the right dataset?"
        )
    return header


def read_leads(path: Path, columns: Sequence[int], start: int = 0, stop: int | None = None) -> np.ndarray:
    """Read some leads of a record.

    Returns shape (T, leads).
    """
    record = _read(
        lambda wfdb: wfdb.rdrecord(
            os.fspath(path), channels=list(columns), sampfrom=start, sampto=stop, physical=False
        ),
        path,
        ".dat",
    )
    if start == 0 and stop is None:
        for name, wanted, digital in zip(record.sig_name, record.checksum, record.d_signal.T, strict=True):
            if wanted is not None and (int(digital.sum(dtype=np.int64)) - wanted) % 65536:
                raise DataError(f"record {path}: checksum of lead {name} differs from the header; {_REMEDY}")
    factors = [unit_in_millivolts(str(unit)) for unit in record.units]
    if None in factors:
        raise DataError(f"record {path}: unit {record.units[factors.index(None)]} is no voltage; {_REMEDY}")
    signal = record.dac() * np.array(factors, dtype=np.float64)
    if not np.isfinite(signal).all():
        lead = record.sig_name[int(np.flatnonzero(~np.isfinite(signal).all(axis=0))[0])]
        raise DataError(
            f"record {path}: lead {lead} has invalid (NaN) samples; {_REMEDY}, or remove the record"
        )
    return signal


def read_annotations(path: Path, suffix: str) -> Annotations:
    """Read an annotation file."""
    content = _read(lambda _: path.with_name(f"{path.name}.{suffix}").read_bytes(), path, f".{suffix}")
    if content[-2:] != _END_OF_ANNOTATIONS:  # wfdb reads such a file as far as it goes, most often in silence
        raise DataError(f"record {path}: .{suffix} is cut off (it has no end mark); {_REMEDY}")
    found = _read(lambda wfdb: wfdb.rdann(os.fspath(path), suffix), path, f".{suffix}")
    return Annotations(np.asarray(found.sample, dtype=np.int64), np.asarray(found.symbol, dtype=str))


def _read(read: Any, path: Path, suffix: str) -> Any:
    """What wfdb reads; whatever goes wrong names the record."""
    wfdb = import_wfdb()
    try:
        with warnings.catch_warnings():  # wfdb with pandas 3.1: nothing that its users can do about
            warnings.simplefilter("ignore", DeprecationWarning)
            return read(wfdb)
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else f"{path.name}{suffix}"
        raise DataError(f"record {path}: file {missing} is missing; {_REMEDY}") from error
    except OSError as error:
        raise DataError(f"record {path}: {suffix} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # wfdb raises nearly every built-in type on a malformed file
        raise DataError(
            f"record {path}: {suffix} is not readable ({type(error).__name__}: {error}); {_REMEDY}"
        ) from error

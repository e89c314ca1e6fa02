"""Readers of WFDB and EDF files: what a file says about its signals, as it says it.

Every reader (`ecg_csv` and `ecg_arrays` hold the others) returns a `RawFile`: named channels with the unit
and the rate the file states, or a blank where it states none. `ecg_channels` maps them to leads in mV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import edfio
import numpy as np

from databases.wfdb_header import RecordError, read_header
from databases.wfdb_reader import Channel, read_channels
from utils.errors import DataError


@dataclass(frozen=True)
class RawFile:
    """The signals of a file before any mapping.

    ``kind``: ``WFDB``, ``EDF``, ``MAT``, ``NumPy`` or ``CSV``.
    ``notes``: what the reader found or assumed, one sentence each.
    """

    kind: str
    channels: list[Channel]
    notes: list[str] = field(default_factory=list)


def read_wfdb(header_path: Path) -> RawFile:
    """Read a WFDB record of any signal format, gain and offset; sizes and checksums are verified."""
    try:
        return RawFile("WFDB", *read_channels(read_header(header_path.with_suffix(""))))
    except RecordError as error:
        raise DataError(
            f"{header_path}: {error.reason}; compare header and signal file with the original, or copy both "
            "again"
        ) from error


def read_edf(path: Path) -> RawFile:
    """Read an EDF or EDF+C file; annotation channels are left out."""
    try:
        _check_edf_size(path)
        # latin-1 because devices write the micro sign, though the format allows ASCII only
        edf = edfio.read_edf(path, header_encoding="latin-1", lazy_load_data=False)
        channels = [
            Channel(
                s.label, np.asarray(s.data, np.float64), s.physical_dimension, float(s.sampling_frequency)
            )
            for s in edf.signals
        ]
    except DataError:
        raise
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        raise DataError(f"{path}: not a readable EDF file ({reason(error)}); export it again") from error
    if not channels:
        raise DataError(f"{path}: the EDF file holds no signals")
    return RawFile("EDF", channels)


def _check_edf_size(path: Path) -> None:
    """Raise DataError for a discontinuous file or one whose size differs from its header."""
    with open(path, "rb") as file:
        fixed = file.read(256)
        signals = int(fixed[252:256])
        file.seek(256 + 216 * signals)
        samples = [int(file.read(8)) for _ in range(signals)]
    if fixed[192:197] == b"EDF+D":
        raise DataError(
            f"{path}: discontinuous EDF (EDF+D) is not supported; export the recording as EDF or EDF+C"
        )
    header, records = int(fixed[184:192]), int(fixed[236:244])
    expected, actual = header + records * 2 * sum(samples), path.stat().st_size
    if records < 1:
        raise DataError(
            f"{path}: the EDF header counts {records} data records: the recording was not closed properly"
        )
    if expected != actual:
        raise DataError(
            f"{path} is truncated or damaged: {expected} bytes expected from its header "
            f"({records} data records), {actual} found; export or copy it again"
        )


def reason(error: BaseException) -> str:
    """Say in one line what a parser stumbled over."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__

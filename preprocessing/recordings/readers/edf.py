"""Reader of EDF files."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import Format, RawFile, Request, reason, register_format
from utils.errors import DataError


def is_edf(head: bytes, path: Path) -> bool:
    """Whether a file begins with the version field of EDF."""
    return head[:8] == b"0       "


def read_edf(path: Path, request: Request) -> RawFile:
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


register_format(Format("EDF", (".edf",), is_edf, read_edf))

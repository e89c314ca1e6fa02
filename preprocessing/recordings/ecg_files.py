"""Readers of WFDB and EDF files: what a file says about its signals, as it says it.

Every reader (`ecg_csv` and `ecg_arrays` hold the others) returns a `RawFile`: named channels with the unit
and the rate the file states, or a blank where it states none. `ecg_channels` maps them to leads in mV.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import edfio
import numpy as np

from databases.wfdb_files import import_wfdb
from utils.errors import DataError

# WFDB signal formats of fixed size: samples in a group and bytes of that group.
_WFDB_FORMATS = {
    **dict.fromkeys(("8", "80"), (1, 1)),
    **dict.fromkeys(("16", "61", "160"), (1, 2)),
    **{"24": (1, 3), "32": (1, 4), "212": (2, 3), "310": (3, 4), "311": (3, 4)},
}


@dataclass(frozen=True)
class Channel:
    """One signal of a file.

    ``name``: its name in the file.
    ``values`` (T,): samples, float64, in `unit`.
    ``unit``: the unit as the file writes it, empty where it says nothing.
    ``rate``: sampling rate in Hz, None where the file says nothing.
    ``gain``: ADC units per `unit`: ``values * gain`` are the integers the file stores, less their
        zero.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    rate: float | None = None
    gain: float = 1.0


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
    record_path = str(header_path)[: -len(".hea")]
    wfdb = import_wfdb()
    try:
        header = wfdb.rdheader(record_path, rd_segments=True)
        segments = header.segments if isinstance(header, wfdb.MultiRecord) else [header]
        for segment in segments:
            if segment is not None:
                _check_wfdb_sizes(segment, header_path)
        if isinstance(header, wfdb.MultiRecord):
            return _read_wfdb_segments(wfdb.rdrecord(record_path))
        record = wfdb.rdrecord(record_path, physical=False, smooth_frames=False, ignore_skew=True)
        notes = _check_wfdb_checksums(record, header_path) + _wfdb_defaults(header_path, record.n_sig)
        if any(record.skew):
            record = wfdb.rdrecord(record_path, physical=False, smooth_frames=False)
            notes.append("the channels were aligned by the skew in the header")
        values = record.dac(expanded=True)
    except DataError:
        raise
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        raise DataError(
            f"{header_path}: not a readable WFDB record ({reason(error)}); "
            "compare header and signal file with the original, or copy both again"
        ) from error
    channels = [
        Channel(name or f"channel {index + 1}", signal, unit or "", float(record.fs * frames), gain)
        for index, (name, signal, unit, frames, gain) in enumerate(
            zip(record.sig_name, values, record.units, record.samps_per_frame, record.adc_gain, strict=True)
        )
    ]
    return RawFile("WFDB", channels, notes)


def _read_wfdb_segments(record: Any) -> RawFile:
    """Channels of a multi-segment record, joined by wfdb, which fills gaps between segments with NaN."""
    channels = [
        Channel(name, record.p_signal[:, index], record.units[index], record.fs)
        for index, name in enumerate(record.sig_name)
    ]
    return RawFile(
        "WFDB", channels, [f"{len(record.seg_name)} segments were joined, their checksums not verified"]
    )


def _check_wfdb_sizes(header: Any, header_path: Path) -> None:
    """Raise DataError where a signal file is missing or shorter than the header says."""
    if not header.n_sig or not header.file_name:
        raise DataError(f"{header_path}: the header describes no signals")
    if not header.fs or header.fs <= 0:
        raise DataError(
            f"{header_path}: the header gives a sampling rate of {header.fs} Hz; correct its first line"
        )
    groups = defaultdict(list)
    for index, name in enumerate(header.file_name):
        groups[name].append(index)
    for name, indices in groups.items():
        path = header_path.parent / name
        if name == "~":  # a layout header, whose signals lie in the segments
            continue
        if not path.is_file():
            raise DataError(
                f"{path} does not exist, but {header_path.name} names it: put the two side by side"
            )
        first = indices[0]
        if header.fmt[first] not in _WFDB_FORMATS or header.sig_len is None:
            continue  # compressed formats carry their own check; without a length the file's size rules
        samples = header.sig_len * sum(header.samps_per_frame[i] or 1 for i in indices)
        group, size = _WFDB_FORMATS[header.fmt[first]]
        expected = (header.byte_offset[first] or 0) + math.ceil(samples * size / group)
        actual = path.stat().st_size
        if actual < expected:
            raise DataError(
                f"{path} is truncated: {expected} bytes expected from {header_path.name} "
                f"({header.sig_len} samples of {len(indices)} signals), {actual} found; copy it again"
            )


def _check_wfdb_checksums(record: Any, header_path: Path) -> list[str]:
    """Compare the 16-bit sums of the samples with the header's; the note says how many were there."""
    stated = 0
    for name, checksum, samples in zip(record.sig_name, record.checksum, record.e_d_signal, strict=True):
        if checksum is None:
            continue
        stated += 1
        actual = int(samples.sum(dtype=np.int64)) % 65536
        if actual != checksum % 65536:
            raise DataError(
                f"{header_path}: the checksum of signal '{name}' is {checksum % 65536} in the header "
                f"but {actual} in {record.file_name[0]}: the samples were changed or damaged; copy it again"
            )
    if stated == 0:
        return ["the header has no checksums, so the samples could not be verified"]
    return [f"checksums of {stated} of {record.n_sig} signals verified"]


def _wfdb_defaults(header_path: Path, signals: int) -> list[str]:
    """Name the values that the WFDB format supplies where a header leaves them out."""
    text = header_path.read_text(encoding="ascii", errors="ignore")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")][1:]
    gains = [fields[2] if len(fields) > 2 else "" for fields in lines[:signals]]
    notes = []
    if any(gain == "" or gain.partition("(")[0].partition("/")[0] in ("0", "0.0") for gain in gains):
        notes.append("the header gives no gain for some signals: 200 units per mV taken, the WFDB default")
    if any("/" not in gain for gain in gains):
        notes.append("the header gives no unit for some signals: mV taken, the WFDB default")
    return notes


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

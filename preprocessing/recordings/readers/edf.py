"""Reader of EDF, EDF+ and BDF files.

Formats: https://www.edfplus.info/specs/ and https://www.biosemi.com/faq/file_format.htm. Dates and
reserved fields are ignored; a lead whose header does not say what its integers mean is not calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import Format, RawFile, Request, check_amount, register_format
from utils.errors import DataError

_BDF = b"\xffBIOSEMI"
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # of the fields of a signal, which follow each other by field
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_MOST_SIGNALS = 4096
_BLOCK = 4096  # data records that are decoded at a time


@dataclass(frozen=True)
class _Signal:
    """A signal of the header: samples in a data record, where they begin in it, and calibration.

    ``scale``: units per ADC unit; 1 where `fault` says why there is no calibration.
    """

    label: str
    unit: str
    samples: int
    first: int
    scale: float
    zero: float
    fault: str


@dataclass(frozen=True)
class _Header:
    kind: str
    continuous: bool
    size: int
    records: int
    duration: float
    signals: list[_Signal]

    @property
    def width(self) -> int:
        """Samples of all signals in a data record."""
        return sum(signal.samples for signal in self.signals)

    @property
    def bytes(self) -> int:
        """Bytes of a sample."""
        return 2 if self.kind == "EDF" else 3


def is_edf(head: bytes, path: Path) -> bool:
    """Whether a file begins with the version field of EDF, or of BDF."""
    return (head[:8] == b"0       " or head[:8] == _BDF) and len(head) >= 256


def read_edf(path: Path, request: Request) -> RawFile:
    """Read the signals of a file; annotations are left out, a gap of a discontinuous file is NaN."""
    header, notes = _read_header(path)
    present, header, remark = _records(path, header, request)
    notes += remark
    samples = np.memmap(path, np.uint8, "r", header.size, (present, header.width * header.bytes))
    onsets, seconds = np.arange(present) * header.duration, header.records * header.duration
    if not header.continuous:
        onsets, remark = _onsets(path, header, samples)
        notes, seconds = notes + remark, float(onsets[-1]) + header.duration
    elif stated := _gaps_of_continuous(path, header, samples):
        onsets, seconds = stated[0], float(stated[0][-1]) + header.duration
        notes += ["WARNING: the header calls the file continuous, its data records are not", *stated[1]]
    signals = [signal for signal in header.signals if signal.label not in _ANNOTATIONS and signal.samples]
    if not signals:
        raise DataError(f"{path}: the {header.kind} file holds no signals; choose another file")
    check_amount(path, round(sum(signal.samples for signal in signals) * seconds / header.duration))
    channels = []
    for signal in signals:
        rate = signal.samples / header.duration
        values = np.full(round(seconds * rate), np.nan)
        starts = np.rint(onsets * rate).astype(np.int64)
        first, last = signal.first * header.bytes, (signal.first + signal.samples) * header.bytes
        for at in range(0, present, _BLOCK):
            block = _integers(samples[at : at + _BLOCK, first:last], header.bytes)
            begin, end = starts[at], starts[at] + block.size
            if starts[at : at + _BLOCK][-1] + signal.samples == end:  # without a gap
                values[begin:end] = block.reshape(-1)
            else:
                for start, record in zip(starts[at : at + _BLOCK], block, strict=True):
                    values[start : start + signal.samples] = record
        values += signal.zero
        values *= signal.scale
        channels.append(Channel(signal.label, values, signal.unit, rate, 1 / signal.scale, signal.fault))
    return RawFile(header.kind, channels, notes)


def _read_header(path: Path) -> tuple[_Header, list[str]]:
    with open(path, "rb") as file:
        fixed = file.read(256)
        count = _integer(path, fixed[252:256], "number of signals")
        if not 1 <= count <= _MOST_SIGNALS:
            raise DataError(f"{path}: the header announces {count} signals; export the file again")
        text = file.read(256 * count)
    if len(fixed) < 256 or len(text) < 256 * count:
        raise DataError(f"{path}: not a readable EDF file, it ends within its header; copy it again")
    kind = "BDF" if fixed[:8] == _BDF else "EDF"
    records = _integer(path, fixed[236:244], "number of data records")
    size = _integer(path, fixed[184:192], "size of the header")
    notes = []
    if size != 256 * (count + 1):
        notes.append(f"the header says it has {size} bytes; {count} signals make it {256 * (count + 1)}")
    duration = _number(fixed[244:252])
    if not (duration and 0 < duration < math.inf):
        duration = 0.0
    columns, at = [], 0
    for width in _WIDTHS:
        columns.append([text[at + width * row : at + width * (row + 1)] for row in range(count)])
        at += width * count
    signals, first = [], 0
    for label, _, unit, *limits, _, samples, _ in zip(*columns, strict=True):
        name = _text(label)
        number = _integer(path, samples, f"number of samples of {name}")
        if number < 0:
            raise DataError(f"{path}: signal {name} has {number} samples in a record; export the file again")
        signals.append(_Signal(name, _text(unit), number, first, *_calibration(limits)))
        first += number
    continuous = fixed[192:197] not in (b"EDF+D", b"BDF+D")
    header = _Header(kind, continuous, 256 * (count + 1), records, duration, signals)
    if not first:
        raise DataError(f"{path}: the {kind} file holds no signals; choose another file")
    if not duration and any(s.samples and s.label not in _ANNOTATIONS for s in signals):
        raise DataError(
            f"{path}: the header gives data records of '{_text(fixed[244:252])}' seconds, so it says no "
            "sampling rate; export the file again"
        )
    return header, notes


def _calibration(limits: Sequence[bytes]) -> tuple[float, float, str]:
    """Scale and zero from the physical and digital limits, and why there are none."""
    names = ("physical minimum", "physical maximum", "digital minimum", "digital maximum")
    values = []
    for name, field in zip(names, limits, strict=True):
        number = _number(field)
        if number is None:
            return 1.0, 0.0, f"its {name} is '{_text(field)}'"
        values.append(number)
    low, high, bottom, top = values
    if low == high:
        return 1.0, 0.0, f"its physical minimum and maximum are both {low:g}"
    if bottom == top:
        return 1.0, 0.0, f"its digital minimum and maximum are both {bottom:g}"
    scale = (high - low) / (top - bottom)
    return scale, high / scale - top, ""


def _records(path: Path, header: _Header, request: Request) -> tuple[int, _Header, list[str]]:
    """Whole data records in the file, header with their number, and notes.

    Fewer than stated are refused where the part used needs them.
    """
    length = header.width * header.bytes
    present = (path.stat().st_size - header.size) // length
    expected = header.size + header.records * length
    if header.records < 0 and present > 0:
        note = f"the header does not count its data records: {present} taken from the size of the file"
        return present, replace(header, records=present), [note]
    if header.records < 1 or present < 1:
        raise DataError(
            f"{path}: the {header.kind} header counts {header.records} data records, the file holds "
            f"{present}: nothing was recorded; export it again"
        )
    if present < header.records:
        text = (
            f"{expected} bytes expected from its header ({header.records} data records), "
            f"{path.stat().st_size} found"
        )
        if not request.seconds_needed or present * header.duration < request.seconds_needed:
            raise DataError(f"{path} is truncated or damaged: {text}; export or copy it again")
        return present, header, [f"the file is truncated: {text}"]
    beyond = path.stat().st_size - expected
    notes = [f"the file has {beyond} bytes more than its header says; they were ignored"] if beyond else []
    return header.records, header, notes


def _gaps_of_continuous(
    path: Path, header: _Header, samples: np.ndarray
) -> tuple[np.ndarray, list[str]] | None:
    """Onsets of the data records of a file that is said to have no gaps, where it has some."""
    if not any(signal.label in _ANNOTATIONS for signal in header.signals):
        return None
    try:
        onsets, notes = _onsets(path, header, samples)
    except DataError:  # EDF+C needs no onsets
        return None
    return None if onsets[-1] == (len(onsets) - 1) * header.duration else (onsets, notes)


def _onsets(path: Path, header: _Header, samples: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Seconds at which the data records of a discontinuous file begin, the first at 0, and a note."""
    marks = next((signal for signal in header.signals if signal.label in _ANNOTATIONS), None)
    if marks is None:
        raise DataError(
            f"{path}: is discontinuous (EDF+D) without onsets of its data records; export it as EDF or EDF+C"
        )
    first = marks.first * header.bytes
    seconds = []
    for number, record in enumerate(samples, 1):
        text = record[first : first + 64].tobytes().partition(b"\x14")[0]
        onset = _number(text.partition(b"\x15")[0])
        if onset is None:
            raise DataError(
                f"{path}: data record {number} of the EDF+D file has no onset; export it as EDF or EDF+C"
            )
        seconds.append(onset)
    onsets, length = np.array(seconds) - seconds[0], header.duration
    shortest = length / max(signal.samples for signal in header.signals if signal.label not in _ANNOTATIONS)
    gaps = np.diff(onsets) - length
    if (gaps < -0.5 * shortest).any():
        raise DataError(f"{path}: data records of the EDF+D file overlap; export it as EDF or EDF+C")
    if np.abs(onsets - np.arange(len(onsets)) * length).max() < 0.5 * shortest:
        return np.arange(len(onsets)) * length, ["EDF+D: the data records follow each other without a gap"]
    places = np.flatnonzero(gaps > 0.5 * shortest)
    shown = ", ".join(f"{onsets[at] + length:g} to {onsets[at + 1]:g} s" for at in places[:5])
    return onsets, [f"in the file there are {len(places)} gaps without a signal: {shown}"]


def _integers(block: np.ndarray, size: int) -> np.ndarray:
    """Samples of bytes in little-endian order."""
    block = np.ascontiguousarray(block)
    if size == 2:
        return block.view("<i2")
    parts = block.reshape(len(block), -1, 3).astype(np.int32)
    return ((parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16) ^ 0x800000) - 0x800000


def _text(field: bytes) -> str:
    """Text of a field; devices write the micro sign in UTF-8 or Latin-1, though the format has ASCII only."""
    try:
        return field.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return field.decode("latin-1").strip(" \0")


def _number(field: bytes) -> float | None:
    try:
        value = float(_text(field))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _integer(path: Path, field: bytes, what: str) -> int:
    try:
        return int(_text(field))
    except ValueError as error:
        raise DataError(
            f"{path}: not a readable EDF file ({what} is '{_text(field)}'); export it again"
        ) from error


register_format(Format("EDF", (".edf", ".bdf"), is_edf, read_edf))

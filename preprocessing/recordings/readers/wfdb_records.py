"""Reader of WFDB records."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import numpy as np

from databases.wfdb_header import Header, RecordError, header_file, parse_header, read_header
from databases.wfdb_reader import Channel, read_channels
from preprocessing.recordings.formats import Format, RawFile, Request, register_format
from utils.errors import DataError


def is_header(head: bytes, path: Path) -> bool:
    """Whether a text is named .hea, as a record is looked for by that name."""
    return b"\0" not in head and path.suffix.lower() == ".hea"


def read_wfdb(path: Path, request: Request) -> RawFile:
    """Read a WFDB record of any signal format, gain and offset; sizes and checksums are verified."""
    try:
        header = read_header(path.with_suffix(""))
        rate, needed = header.sampling_rate or request.sampling_rate, None
        if request.seconds_needed is not None and rate:
            needed = math.ceil(request.seconds_needed * rate)
        return _read_signals(path, header, needed)
    except RecordError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: RecordError) -> DataError:
    return DataError(f"{path}: {error.reason}; {error.remedy}")


def _read_signals(path: Path, header: Header, needed: int | None) -> RawFile:
    """Read all signals; a file that cannot be read matters where a lead is in it, and is a note elsewhere."""
    try:
        return RawFile("WFDB", *read_channels(header, needed=needed))
    except RecordError:
        files = list(dict.fromkeys(signal.file for signal in header.signals if signal.file))
        if len(files) < 2 or not header.samples:
            raise
    channels: dict[int, Channel] = {}
    raw = RawFile("WFDB", [])
    for file in files:
        columns = [column for column, signal in enumerate(header.signals) if signal.file == file]
        try:
            part, notes = read_channels(header, columns, needed=needed)
            raw.notes.extend(note for note in notes if note not in raw.notes)
        except RecordError as error:
            part = [Channel(header.leads[column], np.empty(0)) for column in columns]
            raw.faults.update({channel.name: str(_refusal(path, error)) for channel in part})
            names = ", ".join(channel.name for channel in part)
            raw.notes.append(f"{names} could not be read: {error.reason}")
        channels.update(zip(columns, part, strict=True))
    raw.channels.extend(channels[column] for column in sorted(channels))
    return raw


def locate_header(path: Path) -> Path | None:
    """Header of a record that is named without ending or by a signal file."""
    header = header_file(path)
    if os.path.isfile(header):  # Path.is_file raises in a closed folder
        return header
    header = header_file(path.with_suffix(""))
    if path.suffix and path != header and os.path.isfile(header):
        return header if path.suffix.lower() == ".dat" or path in record_files(header) else None
    return None


def record_files(path: Path) -> set[Path]:
    """Files of a record beside its header: signals, and the headers and signals of its segments."""
    files = {path.with_suffix(".mat")}  # as PhysioNet's challenges name signal files
    try:
        header = parse_header(path.with_suffix(""))
    except RecordError:
        return files
    files |= {signal.file for signal in header.signals if signal.file}
    for segment in {segment for segment, _ in header.segments if segment}:
        files.add(segment)
        with contextlib.suppress(RecordError):
            files |= {signal.file for signal in parse_header(segment.with_suffix("")).signals if signal.file}
    return files - {path}


register_format(Format("WFDB", (".hea",), is_header, read_wfdb, parts=record_files, locate=locate_header))

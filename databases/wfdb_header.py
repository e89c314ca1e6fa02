"""Headers of WFDB records, read tolerantly: what a header does not say stays unknown.

Format: https://wfdb.io/spec/header-files.html. Dates and times are ignored, files are looked for in the
folder of the header alone, and values that the format supplies by default are marked as not stated.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databases.wfdb_files import import_wfdb
from utils.errors import DataError

REMEDY = "copy or download its files again"
DEFAULT_GAIN = 200.0  # ADC units per unit, where a header gives none
_LARGEST_HEADER = 2**22  # bytes; that of a record in 100,000 segments has 2 MB
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_AFTER_NAME = re.compile(r"(?:/(\d+))?\s+(\d+)(?:\s+(.*))?$")
_FIRST_LINE = re.compile(rf"\S+?{_AFTER_NAME.pattern}")
_SPACES = re.compile(r"\s+")
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(-?\d+))?(?:\+(\d+))?(?=\s|$)")
_GAIN = re.compile(rf"({_NUMBER})(?:\(({_NUMBER})\))?(?:/(\S*))?$")


class RecordError(DataError):
    """A record cannot be used; `reason` is the message without record and remedy."""

    def __init__(self, path: Path, reason: str, remedy: str = REMEDY) -> None:
        super().__init__(f"record {path}: {reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Signal:
    """One line of a header.

    ``file``: as it is on disk; None for a signal without samples (``~``), as a layout lists them.
    ``frames``: samples in each frame of the record.
    ``gain``: None where the header states none; `unit` is empty then, and `baseline` the zero of the ADC.
    """

    name: str
    file: Path | None
    fmt: str
    frames: int = 1
    skew: int = 0
    offset: int = 0
    gain: float | None = None
    baseline: float = 0.0
    unit: str = ""
    zero: int = 0
    initial: int | None = None
    checksum: int | None = None


@dataclass(frozen=True)
class Header:
    """What the header of a record says.

    ``leads``: of a record in segments those of its first segment.
    ``sampling_rate``: frames a second; None where the header states none that can be used.
    ``samples``: frames; None where the header leaves it to the size of the file.
    ``segments``: header (None for a gap) and length of each segment of a record that has segments.
    ``remarks``: what was passed over.
    """

    path: Path
    leads: tuple[str, ...]
    sampling_rate: float | None
    samples: int | None
    comments: tuple[str, ...]
    signals: tuple[Signal, ...]
    segments: tuple[tuple[Path | None, int], ...] = ()
    remarks: tuple[str, ...] = ()

    def check_rate(self, sampling_rate: float) -> None:
        """Refuse a record of another sampling rate."""
        if self.sampling_rate != sampling_rate:
            stated = f"{self.sampling_rate:g} Hz" if self.sampling_rate else "no sampling rate"
            raise RecordError(self.path, f"header says {stated}, expected {sampling_rate:g} Hz")


def header_file(path: Path) -> Path:
    """File of a record's header; its ending may be in upper case."""
    plain = path.with_name(f"{path.name}.hea")
    upper = path.with_name(f"{path.name}.HEA")
    return upper if os.path.exists(upper) and not os.path.exists(plain) else plain


def read_header(path: str | os.PathLike) -> Header:
    """Read the header of a record; `path` is without extension."""
    header = parse_header(path)
    if not header.segments:
        return header
    described = [file for file, _ in header.segments if file]
    if not described:
        raise RecordError(header.path, "header lists no segment")
    described = [file for file in described if os.path.exists(file)] or described  # a layout may be absent
    first = parse_header(described[0].with_suffix(""))
    if first.segments:
        raise RecordError(header.path, f"segment {first.path.name} has segments itself")
    return Header(**{**vars(header), "leads": first.leads})


def parse_header(path: str | os.PathLike) -> Header:
    """Read one header file, without looking into its segments."""
    path = Path(path)
    file = header_file(path)
    check_regular(file, path)
    comments, lines = _lines(path, _read_text(file, path))
    if not lines:
        raise RecordError(path, f"not a readable WFDB record ({file.name} is empty)")
    segments, count, rate, samples, remarks = _record_line(path, lines[0])
    if segments:
        parts = tuple(_segments(path, lines[1:], segments))
        listed = sum(length for _, length in parts)
        if samples not in (None, listed):
            remarks.append(f"the segments have {listed} samples, the first line of the header says {samples}")
        return Header(path, (), rate, listed, comments, (), parts, tuple(remarks))
    if not count:
        raise RecordError(path, "header lists no signal: it has annotations alone", "choose another record")
    if len(lines) <= count:
        raise RecordError(path, f"header lists {len(lines) - 1} of the {count} signals that it announces")
    files: dict[str, Path] = {}
    signals = tuple(_signal(path, line, column, files) for column, line in enumerate(lines[1 : count + 1], 1))
    if len(lines) > count + 1:
        remarks.append(f"the header has {len(lines) - 1} lines for {count} signals: the others were ignored")
    leads = tuple(signal.name for signal in signals)
    return Header(path, leads, rate, samples, comments, signals, (), tuple(remarks))


def _read_text(file: Path, path: Path) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(_LARGEST_HEADER + 1)
    except OSError as error:
        reason = f"{file.name} cannot be read ({error.strerror or error})"
        raise RecordError(path, reason, "check its permissions") from error
    if len(content) > _LARGEST_HEADER:
        raise RecordError(path, f"{file.name} is not a header: it has more than 4 MB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _lines(path: Path, text: str) -> tuple[tuple[str, ...], list[str]]:
    """Comments, and the other lines that are not empty."""
    if "\0" in text:
        raise RecordError(path, "not a readable WFDB record (it holds binary data)")
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    comments = tuple(line.strip(" \t#") for line in lines if line.startswith("#"))
    return comments, [line for line in lines if line and not line.startswith("#")]


def _record_line(path: Path, line: str) -> tuple[int, int, float | None, int | None, list[str]]:
    """Number of segments (0: none) and signals, rate, samples, and remarks, from the first line.

    The name may have spaces and slashes, so it is looked for as the file is named first.
    """
    name, at, match = path.name.lower(), -1, None
    while match is None and (at := line.lower().find(name, at + 1)) >= 0:
        if at == 0 or line[at - 1] in "/\\":
            match = _AFTER_NAME.match(line, at + len(name))
    match = match or _FIRST_LINE.match(line)
    if not match:
        raise RecordError(path, f"not a readable WFDB record (its first line is '{line[:60]}')")
    words, remarks = (match[3] or "").split(), []
    rate, stated = None, words[0] if words else ""
    if number := re.match(_NUMBER, stated):
        rate = float(number[0])
    if stated and not (rate and 0 < rate < 1e9):
        remarks.append(f"the header gives a sampling rate of '{stated[:20]}', which is none")
        rate = None
    length = words[1] if len(words) > 1 else "0"
    samples = int(length[:18]) if length.isdecimal() else 0
    if not length.isdecimal():
        remarks.append(f"the header gives '{length[:20]}' for the number of samples, which is none")
    return int((match[1] or "0")[:9]), int(match[2][:9]), rate, samples or None, remarks


def _segments(path: Path, lines: list[str], count: int) -> Iterator[tuple[Path | None, int]]:
    if len(lines) < count:
        raise RecordError(path, f"header lists {len(lines)} of the {count} segments that it announces")
    for line in lines[:count]:
        match = re.match(r"(.+?)\s+(\d{1,18})$", line)
        if not match:
            raise RecordError(path, f"'{line[:60]}' in the header is not a segment and its length")
        if match[1] == "~":
            yield None, int(match[2])
        else:
            yield _inside(path, f"{match[1]}.hea"), int(match[2])


def _signal(path: Path, line: str, column: int, files: dict[str, Path]) -> Signal:
    """Signal of a line: a file, whose name may have spaces, its format, and fields that may be absent.

    ``files``: those of earlier lines, by name: to look for a file costs more than to read its line.
    """
    name, form, rest = _split_signal(path, line, files)
    file = files.get(name)
    if file is None and name != "~":
        file = _inside(path, name)
        if os.path.isfile(path.parent / name):
            files[name] = file
    frames, skew, offset = (int((text or "0")[:18]) for text in form.groups()[1:])
    if skew < 0:
        raise RecordError(path, f"header gives a negative skew for signal {column}", "correct the header")
    gain, baseline, unit, rest = _gain(path, column, rest)
    numbers = re.match(r"((?:-?\d+(?:\s+|$)){0,5})(.*)", rest)
    values: list[int | None] = [int(text[:18]) for text in numbers[1].split()] if numbers else []
    _, zero, initial, checksum, _ = (values + [None] * 5)[:5]
    return Signal(
        name=(numbers[2].strip() if numbers else "") or f"channel {column}",
        file=file,
        fmt=form[1],
        frames=frames or 1,
        skew=skew,
        offset=offset,
        gain=gain,
        baseline=float(zero or 0) if baseline is None else baseline,
        unit=unit,
        zero=zero or 0,
        initial=initial,
        checksum=checksum,
    )


def _gain(path: Path, column: int, text: str) -> tuple[float | None, float | None, str, str]:
    """Gain and baseline (None where not stated) and unit at the beginning of a text, and what follows."""
    word, _, rest = text.partition(" ")
    match = _GAIN.match(word)
    if match and math.isfinite(gain := float(match[1])):
        baseline = float(match[2]) if match[2] else None
        return gain or None, baseline, match[3] or "", rest.strip()
    if match or set(word) & set("/()") or word[:1] in set("0123456789.+-") - {""}:
        raise RecordError(
            path, f"'{word[:40]}' is not a gain and unit (signal {column})", "correct it in the header"
        )
    return None, None, "", text


def _split_signal(path: Path, line: str, files: dict[str, Path]) -> tuple[str, re.Match[str], str]:
    """File name, format field and the rest of a line; of several splits the one whose file exists."""
    first = None
    for space in _SPACES.finditer(line):
        if form := _FORMAT.match(line, space.end()):
            split = line[: space.start()], form, " ".join(line[form.end() :].split())
            if split[0] in files or os.path.isfile(
                path.parent / split[0]
            ):  # False for names that no system allows
                return split
            first = first or split
    if first is None:
        raise RecordError(path, f"'{line[:60]}' in the header is not a file and its format")
    return first


def _inside(path: Path, name: str) -> Path:
    """File that a header names: in its folder, whatever the folder was called when it was written.

    Names of files that were copied out of their folders or renamed to upper case are found, too.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or not parts or re.match("[A-Za-z]:$", parts[0]):
        raise RecordError(
            path,
            f"header names {name[:80]}, a file outside the folder of the record",
            "put the file beside the header and correct its name there",
        )
    file = path.parent.joinpath(*parts)
    for candidate in (file, path.parent / parts[-1]):
        if os.path.exists(candidate):  # False, too, for a name that no file can have
            return candidate
    for candidate in (file, path.parent / parts[-1]):
        if os.path.isdir(candidate.parent):
            same = [p for p in candidate.parent.iterdir() if p.name.lower() == candidate.name.lower()]
            if len(same) == 1:
                return same[0]
    return file


def check_regular(file: Path, path: Path) -> None:
    """Refuse a file that is absent, or a pipe or device that would never end."""
    if not os.path.exists(file):
        raise RecordError(path, f"file {file.name[:80]} is missing")
    if not file.is_file():
        raise RecordError(path, f"{file.name} is not a regular file")


def attempt(read: Callable[[Any], Any], path: Path, suffix: str) -> Any:
    """Result of a call of wfdb; whatever it raises names the record."""
    wfdb = import_wfdb()
    try:
        with warnings.catch_warnings():  # wfdb with pandas 3.1: nothing that its users can do about
            warnings.simplefilter("ignore", DeprecationWarning)
            return read(wfdb)
    except OSError as error:
        reason = f"{suffix} cannot be read ({error.strerror or error})"
        raise RecordError(path, reason, "check its permissions") from error
    except Exception as error:  # wfdb raises nearly every built-in type on a malformed file
        words = str(error).strip().partition("\n")[0][:150]
        reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise RecordError(path, f"{suffix} is not readable ({reason})") from error

"""Headers of WFDB records, what is checked of a record, and its errors.

Format: https://wfdb.io/spec/header-files.html.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databases.wfdb_files import checksums, import_wfdb
from utils.errors import DataError

REMEDY = "download its files again"
_MOST_VALUES = 2**28  # of one record: 2 GB as float64, or 24 hours of 12 leads at 250 Hz
# Signal formats of fixed size: samples in a group and bytes of that group.
_FORMATS = {
    **dict.fromkeys(("8", "80"), (1, 1)),
    **dict.fromkeys(("16", "61", "160"), (1, 2)),
    **{"24": (1, 3), "32": (1, 4), "212": (2, 3), "310": (3, 4), "311": (3, 4)},
}


class RecordError(DataError):
    """A record cannot be used; `reason` is the message without record and remedy."""

    def __init__(self, path: Path, reason: str, remedy: str = REMEDY) -> None:
        super().__init__(f"record {path}: {reason}; {remedy}")
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What the header of a record says; ``raw`` is wfdb's own object.

    ``leads``: of a record in segments those of its first segment.
    ``samples``: None where the header leaves it to the size of the file.
    ``lines``: the text without comments and empty lines.
    """

    path: Path
    leads: tuple[str, ...]
    sampling_rate: float | None
    samples: int | None
    comments: tuple[str, ...]
    lines: list[str]
    raw: Any

    @property
    def segments(self) -> list[tuple[str, int]]:
        """Name and length of each segment of a record that has segments."""
        return list(zip(self.raw.seg_name, self.raw.seg_len, strict=True)) if _segmented(self.raw) else []

    def check_rate(self, sampling_rate: float) -> None:
        """Refuse a record of another sampling rate."""
        if self.sampling_rate != sampling_rate:
            stated = f"{self.sampling_rate:g} Hz" if self.sampling_rate else "no sampling rate"
            raise RecordError(self.path, f"header says {stated}, expected {sampling_rate:g} Hz")


def _segmented(raw: Any) -> bool:
    return hasattr(raw, "seg_name")


def read_header(path: str | os.PathLike) -> Header:
    """Read the header of a record; `path` is without extension."""
    path = Path(path)
    file = path.with_name(f"{path.name}.hea")
    check_regular(file, path)
    text = attempt(lambda _: file.read_text(encoding="ascii", errors="ignore"), path, ".hea")
    raw = _parse(path)
    described = raw
    if _segmented(raw):
        names = [name for name in raw.seg_name if name != "~"]
        if not names or any(Path(name).name != name for name in names):
            raise RecordError(path, "header lists no segment, or one outside the folder of the record")
        described = _parse(path.with_name(names[0]))
    if _segmented(described) or not described.sig_name or not described.file_name:
        raise RecordError(path, "header lists no signal")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stated = len(lines[0].split()) > 2  # wfdb supplies 250 Hz where there is no rate
    if stated and not raw.fs > 0:
        raise RecordError(path, f"header gives a sampling rate of {raw.fs} Hz", "correct its first line")
    leads = tuple(name or f"channel {column}" for column, name in enumerate(described.sig_name, 1))
    rate = float(raw.fs) if stated else None
    return Header(path, leads, rate, raw.sig_len, tuple(raw.comments or ()), lines, raw)


def _parse(path: Path) -> Any:
    return attempt(lambda wfdb: wfdb.rdheader(os.fspath(path)), path, ".hea")


def check_regular(file: Path, path: Path) -> None:
    """Refuse a file that is absent, or a pipe that would never end."""
    if not file.exists():
        raise RecordError(path, f"file {file.name} is missing")
    if not file.is_file():
        raise RecordError(path, f"{file.name} is not a regular file")


def check_amount(path: Path, values: int) -> None:
    """Refuse what would take more memory than any recording needs."""
    if values > _MOST_VALUES:
        raise RecordError(path, f"would take {values * 8 / 2**30:.0f} GB of memory", "cut it into parts")


def check_sizes(header: Header) -> None:
    """Refuse signal files that are missing or shorter than the header says, before memory is allocated."""
    raw, path = header.raw, header.path
    groups = defaultdict(list)
    for index, name in enumerate(raw.file_name):
        groups[name].append(index)
    frames = [spf or 1 for spf in raw.samps_per_frame]
    if max(skew or 0 for skew in raw.skew) > (raw.sig_len or 10**6):
        raise RecordError(path, "header gives a skew beyond the end of the signals")
    for name, indices in groups.items():
        file, first = path.parent / name, indices[0]
        if not file.exists():
            raise RecordError(path, f"file {name} is missing, but {path.name}.hea names it")
        check_regular(file, path)
        if raw.fmt[first] not in _FORMATS or raw.sig_len is None:
            continue  # compressed formats carry their own check; without a length the file's size rules
        samples = raw.sig_len * sum(frames[index] for index in indices)
        group, size = _FORMATS[raw.fmt[first]]
        expected = (raw.byte_offset[first] or 0) + math.ceil(samples * size / group)
        actual = file.stat().st_size
        if actual < expected:
            raise RecordError(
                path,
                f"{name} is truncated: {expected} bytes expected from {path.name}.hea ({raw.sig_len} samples "
                f"of {len(indices)} signals), {actual} found",
            )
    check_amount(path, (raw.sig_len or 0) * sum(frames))


def check_checksums(path: Path, record: Any) -> list[str]:
    """Compare the 16-bit sums of the samples with the header's; the note says how many it states."""
    stated = 0
    for name, wanted, samples in zip(record.sig_name, record.checksum, record.e_d_signal, strict=True):
        if wanted is None:
            continue
        stated += 1
        actual = int(checksums(samples))
        if actual != wanted % 65536:
            raise RecordError(
                path,
                f"checksum of lead {name} is {wanted % 65536} in the header but {actual} in "
                f"{record.file_name[0]}: the samples were changed or damaged",
            )
    if stated == 0:
        return ["the header has no checksums, so the samples could not be verified"]
    return [f"checksums of {stated} of {record.n_sig} signals verified"]


def defaults(header: Header) -> list[str]:
    """Name the values that the WFDB format supplies where a header leaves them out."""
    fields = [line.split() for line in header.lines[1 : len(header.leads) + 1]]
    gains = [words[2] if len(words) > 2 else "" for words in fields]
    notes = []
    if any(gain == "" or gain.partition("(")[0].partition("/")[0] in ("0", "0.0") for gain in gains):
        notes.append("the header gives no gain for some signals: 200 units per mV taken, the WFDB default")
    if any("/" not in gain for gain in gains):
        notes.append("the header gives no unit for some signals: mV taken, the WFDB default")
    return notes


def attempt(read: Callable[[Any], Any], path: Path, suffix: str = ".dat") -> Any:
    """Result of a call of wfdb; whatever it raises names the record."""
    wfdb = import_wfdb()
    try:
        with warnings.catch_warnings():  # wfdb with pandas 3.1: nothing that its users can do about
            warnings.simplefilter("ignore", DeprecationWarning)
            return read(wfdb)
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else f"{path.name}{suffix}"
        raise RecordError(path, f"file {missing} is missing") from error
    except OSError as error:
        reason = f"{suffix} cannot be read ({error.strerror or error})"
        raise RecordError(path, reason, "check its permissions") from error
    except Exception as error:  # wfdb raises nearly every built-in type on a malformed file
        words = str(error).strip().partition("\n")[0][:150]
        reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
        what = "not a readable WFDB record" if suffix in (".hea", ".dat") else f"{suffix} is not readable"
        raise RecordError(path, f"{what} ({reason})") from error

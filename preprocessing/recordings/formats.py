"""Registry of the file formats of ECG recordings.

A format is one module in `preprocessing.recordings.readers` (or of a plugin) that ends with a registration::

    register_format(Format("EDF", (".edf",), is_edf, read_edf))

- the name, for messages,
- the endings of its files, in lower case, the one to open first,
- ``sniff(head, path) -> bool``: whether a file that begins with the bytes ``head`` (the first 4096) is of
  this format, whatever its name,
- ``read(path, request) -> RawFile``: named channels with the unit and the rate that the file states, or a
  blank where it states none; what the reader assumed is a note. It raises DataError (what is wrong, where,
  what helps) or UsageError (an option of ``request`` is needed or wrong). `ecg_channels` maps the channels to
  leads in mV.
- ``parts(path) -> set[Path]``, optional: other files that belong to the recording at ``path`` (signal files,
  segments), which a folder search does not list for themselves,
- ``locate(path) -> Path | None``, optional: the file to open for a path that names a recording otherwise,
- ``count(path) -> int``, optional: number of recordings in a file, named ``file:0``, ``file:1`` and so on,
  which ``read`` gets as ``request.member``,
- ``specific``: False where ``sniff`` says yes to many kinds of files (any table of text) and is asked last.

The modules of the package are found by themselves; a reader that needs an optional library imports it inside
``read`` and says in its DataError how to install it.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from databases.wfdb_reader import Channel
from databases.wfdb_signals import MOST_VALUES
from preprocessing.recordings import readers
from utils.errors import DataError, UsageError
from utils.files import read_error
from utils.registry import Registry

HEAD_BYTES = 4096
# What else files are, by their first bytes, and what to do about it.
_OTHER_KINDS = (
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet: unpack it first, or save the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet or document of an old Office: save the table as CSV"),
    (b"%PDF", "a PDF: a picture of an ECG is not read; export the signals themselves"),
    (b"\x89PNG", "a picture, which is not read; export the signals themselves"),
    (b"\xff\xd8\xff", "a picture, which is not read; export the signals themselves"),
    (b"PAR1", "a Parquet table: save it as CSV"),
    (b"\x80\x04\x95", "a pickle, which can run code: save the signals with numpy.save(allow_pickle=False)"),
    (b"\x80\x05\x95", "a pickle, which can run code: save the signals with numpy.save(allow_pickle=False)"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file: fetch it with git lfs pull"),
    (b"<!DOCTYPE html", "a web page instead of the file: download the file again"),
    (b"<html", "a web page instead of the file: download the file again"),
    (b"{", "a text in JSON: save the signals as CSV or with numpy.save"),
)
ADC_UNITS = "ADC units"  # unit of integers without a gain


@dataclass(frozen=True)
class RawFile:
    """The signals of a file before any mapping.

    ``kind``: name of the format.
    ``notes``: what the reader found or assumed, one sentence each.
    ``faults``: why channels, by name, cannot be used; raised only where a lead is among them.
    """

    kind: str
    channels: list[Channel]
    notes: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What the user says about a file: rate in Hz, units, and the leads of all its channels in order.

    ``seconds_needed``: end of the part that is used (None: all); what a file lacks beyond it may be NaN.
    ``member``: which recording of a file that holds several.
    ``any_leads``: whichever leads there are will do.
    """

    sampling_rate: float | None = None
    units: str | None = None
    leads: Sequence[str] | None = None
    seconds_needed: float | None = None
    member: str | None = None
    any_leads: bool = False


def _no_parts(path: Path) -> set[Path]:
    return set()


def _not_located(path: Path) -> Path | None:
    return None


def _one_recording(path: Path) -> int:
    return 1


@dataclass(frozen=True)
class Format:
    """A file format; the module docstring says what each field must do."""

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes, Path], bool]
    read: Callable[[Path, Request], RawFile]
    parts: Callable[[Path], set[Path]] = _no_parts
    locate: Callable[[Path], Path | None] = _not_located
    count: Callable[[Path], int] = _one_recording
    specific: bool = True

    @property
    def may_hold_several(self) -> bool:
        """Whether a file may hold several recordings."""
        return self.count is not _one_recording


_FORMATS: Registry[Format] = Registry("file format")


def register_format(item: Format) -> Format:
    """Make a format known; two of one name from different modules are an error."""
    return _FORMATS.register(item.name, item, item.read.__module__)


@functools.cache
def _import_readers() -> None:
    """Import the readers of this package, once: looking for them takes longer than reading a small file."""
    for module in pkgutil.iter_modules(readers.__path__):
        importlib.import_module(f"{readers.__name__}.{module.name}")


def list_formats() -> list[Format]:
    """Formats in the order in which they are asked: those that recognize any text last."""
    _import_readers()
    return list(_in_order(tuple(_FORMATS)))


@functools.lru_cache(maxsize=1)
def _in_order(names: tuple[str, ...]) -> list[Format]:
    return sorted(map(_FORMATS.get, names), key=lambda item: not item.specific)


def known_suffixes() -> tuple[str, ...]:
    """Endings of all formats, in lower case."""
    return tuple(dict.fromkeys(suffix for item in list_formats() for suffix in item.suffixes))


def named_formats(path: Path) -> list[Format]:
    """Formats whose files end like this one."""
    return [item for item in list_formats() if path.suffix.lower() in item.suffixes]


def read_head(path: Path) -> bytes:
    """First bytes of a file; DataError for one that cannot be read or is not a regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a regular file")
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:  # the parsers would call it damaged
        raise read_error(path, error) from error


def recognize(path: Path) -> Format:
    """Format of a file by its content; its ending decides between several, and where none is recognized."""
    head = read_head(path)
    named = named_formats(path)
    others = [item for item in list_formats() if item not in named]
    matching = next((item for item in named + others if item.sniff(head, path)), None)
    if matching is not None:
        return matching
    kind = next((kind for start, kind in _OTHER_KINDS if head.startswith(start)), "")
    if kind:
        raise DataError(f"{path}: is {kind}")
    if len(named) > 1:
        names = ", ".join(item.name for item in named)
        raise DataError(f"{path}: by its content it is none of {names}; export it as one of them, or as CSV")
    if named:
        return named[0]
    raise UsageError(
        f"{path}: unknown format '{path.suffix}', and its content is of none that is read; known endings: "
        f"{', '.join(known_suffixes())} (WFDB: .hea)"
    )


def split_member(path: Path) -> tuple[Path, str | None]:
    """File of a recording, and which one of its recordings is meant: ``exams.hdf5:17``."""
    name, colon, member = path.name.rpartition(":")
    if not colon or not member or os.path.lexists(path):
        return path, None
    file = path.with_name(name) if name else path
    return (file, member) if os.path.isfile(file) else (path, None)


def result_name(path: Path) -> Path:
    """Path of a recording without ending, which names its results."""
    file, member = split_member(path)
    stem = file.with_suffix("")
    return stem if member is None else stem.with_name(f"{stem.name}_{member}")


def check_amount(path: Path, values: int) -> None:
    """Refuse what would take more memory than any recording needs."""
    if values > MOST_VALUES:
        raise DataError(
            f"{path}: would take {values * 8 / 2**30:.1f} GB of memory: it has {values:,} samples, more than "
            f"{MOST_VALUES:,}; cut it into parts"
        )


def reason(error: BaseException) -> str:
    """Say in one line what a parser stumbled over."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__

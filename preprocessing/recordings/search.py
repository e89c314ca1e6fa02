"""Which recordings paths hold, and what a search left out."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.recordings.formats import (
    Format,
    known_suffixes,
    list_formats,
    read_head,
    recognize,
    split_member,
)
from utils.errors import DataError, UsageError, nearest
from utils.files import read_error
from utils.text import listed, printable

_RESULTS = "prediction.json"  # in a folder of results; a table beside settings.yaml is one, too
_TABLES, _SETTINGS = {"predictions.csv", "predictions.parquet"}, "settings.yaml"
_MAGIC = "*?["


@dataclass
class Search:
    """What a search found: recordings in order, and sentences about what was left out.

    ``base``: folder that the names of the recordings are relative to.
    ``remarks``: files that hold several recordings, one sentence each.
    """

    recordings: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    base: Path = Path()
    remarks: list[str] = field(default_factory=list)

    def name(self, recording: Path) -> Path:
        """Path of a recording below the base."""
        return Path(os.path.relpath(os.path.abspath(recording), self.base))


def find_recordings(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the recordings at a path, or at several: sorted files that `read_recording` takes.

    A path is a file, a WFDB record with or without ending (listed once, by its ``.hea``), a pattern such as
    ``*.edf``, or a folder, searched with its subfolders; links to folders and what is hidden are left out.
    """
    return search_recordings([path] if isinstance(path, str | Path) else path).recordings


def search_recordings(paths: Sequence[str | Path], skip: Collection[Path] = ()) -> Search:
    """Find the recordings at several paths; the folders in `skip` are left out."""
    found, walk = Search(), _Walk({Path(os.path.abspath(folder)) for folder in skip})
    roots: list[Path] = []
    for given in paths:
        for path in _expanded(given):
            if os.path.isdir(path):
                walk.folder(path)
                roots.append(path)
                found.recordings += walk.take()
            elif not is_pattern(given):
                found.recordings.append(locate(path))
                roots.append(path.parent)
            elif reason := _unfit(path):  # a pattern may match anything
                walk.add(reason, path)
            else:
                found.recordings.append(locate(path))
                roots.append(path.parent)
    unique = {os.path.abspath(recording): recording for recording in found.recordings}
    found.recordings = [one for path in unique.values() for one in _each(path, found.remarks)]
    found.left_out = walk.sentences()
    if roots:
        found.base = Path(os.path.commonpath([os.path.abspath(root) for root in roots]))
    if not found.recordings:
        where = listed([str(path) for path in paths])
        what = f"; left out: {'; '.join(found.left_out)}" if found.left_out else ""
        raise DataError(
            f"{where}: no recording in this folder; known endings: {', '.join(known_suffixes())} "
            f"(WFDB: .hea){what}"
        )
    return found


def _each(path: Path, remarks: list[str]) -> list[Path]:
    """The recordings of a file, each by its number where it holds several."""
    several = {suffix for item in list_formats() if item.may_hold_several for suffix in item.suffixes}
    if split_member(path)[1] is not None or path.suffix.lower() not in several:
        return [path]
    try:
        count = recognize(path).count(path)
    except (DataError, UsageError):  # whoever reads it says why it cannot be read
        return [path]
    if count == 1:
        return [path]
    remarks.append(f"{printable(str(path))} holds {count} recordings")
    return [path.with_name(f"{path.name}:{number}") for number in range(count)]


def _expanded(given: str | Path) -> list[Path]:
    """Paths that a path or pattern means."""
    text = os.fspath(given)
    if not text.strip():
        raise UsageError("--dir: the path is empty; name a file or a folder (. for the current one)")
    if "\0" in text:
        raise UsageError(f"{printable(text)}: a path cannot hold the character \\x00")
    if not is_pattern(given):
        return [Path(text)]
    matches = sorted(glob.glob(text, recursive=True))
    if not matches:
        raise DataError(f"{printable(text)}: no file matches this pattern; check the path")
    return [Path(match) for match in matches]


def is_pattern(path: str | Path) -> bool:
    """Whether a path is a pattern such as ``*.edf``, and not the name of a file."""
    text = os.fspath(path)
    return any(mark in text for mark in _MAGIC) and not os.path.lexists(text)


def _unfit(path: Path) -> str:
    """Why a file that a pattern matched cannot be a recording; empty where it may be one."""
    if path.suffix.lower() not in known_suffixes():
        return "files that are not read"
    return _irregular(path)


def _irregular(path: Path) -> str:
    """Why a path leads to no file with content; empty where it does."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return "links whose target cannot be read" if os.path.islink(path) else "files that cannot be read"
    return "" if regular else "files that are not regular ones"


class _Walk:
    """A search through folders that remembers what it left out."""

    def __init__(self, skip: set[Path]):
        self._skip = skip
        self._left_out: dict[str, list[str]] = {}
        self._found: list[Path] = []

    def add(self, reason: str, path: str | Path) -> None:
        """Remember what was left out, and why."""
        self._left_out.setdefault(reason, []).append(os.fspath(path))

    def take(self) -> list[Path]:
        """Recordings of the last folder, sorted."""
        found, self._found = sorted(self._found), []
        return found

    def sentences(self) -> list[str]:
        """What was left out, one sentence a reason."""
        return [f"{reason} ({len(paths)}): {_by_ending(paths)}" for reason, paths in self._left_out.items()]

    def folder(self, root: Path) -> None:
        """Search a folder and its subfolders."""
        for folder, folders, files in os.walk(root, onerror=self._unreadable):
            inside = Path(folder)
            folders[:] = sorted(name for name in folders if self._enters(inside / name))
            hidden = [name for name in files if name.startswith(".")]
            for name in hidden:
                self.add("hidden files or folders", inside / name)
            table = _TABLES & set(files)
            results = table | {_SETTINGS} if table and _SETTINGS in files else set()
            visible = sorted(set(files) - set(hidden) - results)
            self._take_files([inside / name for name in visible])

    def _unreadable(self, error: OSError) -> None:
        self.add(f"folders that cannot be read ({error.strerror})", str(error.filename))

    def _enters(self, path: Path) -> bool:
        """Whether a subfolder is searched."""
        if path.name.startswith("."):
            reason = "hidden files or folders"
        elif os.path.islink(path):
            reason = "links to folders, which are not followed"
        elif Path(os.path.abspath(path)) in self._skip or _holds_results(path):
            reason = "folders of earlier results"
        else:
            return True
        self.add(reason, path)
        return False

    def _take_files(self, files: Sequence[Path]) -> None:
        """Sort the files of a folder into recordings, their parts, and others."""
        formats = {suffix: item for item in reversed(list_formats()) for suffix in item.suffixes}
        named = [path for path in files if path.suffix.lower() in formats]
        parts = {part for path in named for part in formats[path.suffix.lower()].parts(path)}
        headers = {path.stem for path in named if path.suffix.lower() == ".hea"}
        for path in files:
            item = formats.get(path.suffix.lower())
            if path in parts:
                continue
            if item is None and path.stem in headers:  # signals and annotations of a WFDB record
                continue
            reason = self._reason(path, item)
            if reason:
                self.add(reason, path)
            else:
                self._found.append(path)

    def _reason(self, path: Path, item: Format | None) -> str:
        """Why a file is left out; empty for a recording."""
        if reason := _irregular(path):
            return reason
        if item is None:
            return "files of formats that are not read"
        try:  # a .txt may be anything
            if (
                not item.specific
                and path.suffix.lower() != item.suffixes[0]
                and not item.sniff(read_head(path), path)
            ):
                return "texts without a table"
        except DataError:
            return ""  # whoever reads it says why it cannot be read
        return ""


def _holds_results(folder: Path) -> bool:
    """Whether an earlier prediction wrote a folder."""
    # os.path: a folder that cannot be searched has none, where Path.is_file would raise
    held = {name for name in (*_TABLES, _SETTINGS, _RESULTS) if os.path.isfile(folder / name)}
    return bool(held & _TABLES and _SETTINGS in held) or _RESULTS in held


def _by_ending(paths: Sequence[str]) -> str:
    """Some paths of each ending, the most frequent ones first."""
    endings: dict[str, list[str]] = {}
    for path in paths:
        endings.setdefault(Path(path).suffix.lower(), []).append(path)
    parts = []
    for _, named in sorted(endings.items(), key=lambda item: -len(item[1]))[:10]:
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        parts.append(", ".join(printable(name) for name in named[:3]) + more)
    more = f", and others with {len(endings) - 10} further endings" if len(endings) > 10 else ""
    return ", ".join(parts) + more


def locate(path: Path) -> Path:
    """The file to open for a path; a WFDB record is opened by its header."""
    file, member = split_member(path)
    if member is not None:
        if not recognize(file).may_hold_several:
            raise UsageError(f"{path}: {file.name} is one recording; leave :{member} out")
        return path
    for item in list_formats():
        if (located := item.locate(path)) is not None:
            return located
    if path.suffix.lower() == ".dat" and os.path.isfile(path) and not _is_specific(path):
        raise DataError(
            f"{path}: its header {path.stem}.hea is not beside it; a .dat file alone has no rate and leads"
        )
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder; name one recording in it")
    if address := re.match(r"[a-z]{2,}:/", str(path)):
        raise UsageError(f"{path} is an address ({address[0]}/), not a path; download the file first")
    if os.path.islink(path) and not os.path.exists(path):
        raise DataError(f"{path} is a link to {os.readlink(path)}, which cannot be reached; correct the link")
    try:
        path.stat()
    except FileNotFoundError as error:
        siblings = list(_siblings(path))
        hint = nearest(path.name, sorted(siblings)).partition("Valid:")[0].strip()
        raise DataError(f"{path} does not exist{': ' + hint if hint else '; check the path'}") from error
    except OSError as error:
        raise read_error(path, error) from error
    recognize(path)
    return path


def _is_specific(path: Path) -> bool:
    """Whether the content of a file is that of a format, whatever its ending."""
    head = read_head(path)
    return any(item.specific and item.sniff(head, path) for item in list_formats())


def _siblings(path: Path) -> Iterator[str]:
    """Names of the files beside a path, where they can be listed."""
    try:
        yield from os.listdir(path.parent)
    except OSError:
        return

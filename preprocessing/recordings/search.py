"""Which recordings a path holds."""

from __future__ import annotations

from pathlib import Path

from preprocessing.recordings.formats import known_suffixes, named_formats, recognize
from utils.errors import DataError, UsageError, nearest


def find_recordings(path: str | Path) -> list[Path]:
    """List the recordings at a path.

    Parameters
    ----------
    path : path-like
        A file, a WFDB record with or without ending, or a folder, searched with its subfolders.

    Returns
    -------
    list of pathlib.Path
        Files that `read_recording` takes, sorted; a WFDB record is listed once, by its ``.hea``.

    Raises
    ------
    DataError
        Nothing is there, or nothing of a known format.
    UsageError
        A file of an unknown format.
    """
    path = Path(path)
    if not path.is_dir():
        return [locate(path)]
    suffixes = known_suffixes()
    files = [p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file() and p.name[0] != "."]
    parts = {part for p in files for item in named_formats(p) for part in item.parts(p)}
    found = sorted(p for p in files if p not in parts)
    if not found:
        raise DataError(
            f"{path}: no recording in this folder; known endings: {', '.join(suffixes)} (WFDB: .hea)"
        )
    return found


def locate(path: Path) -> Path:
    """The file to open for a path; a WFDB record is opened by its header."""
    header = path.with_suffix(".hea") if path.suffix in (".dat", ".mat") else Path(f"{path}.hea")
    if header.is_file():
        return header
    if path.suffix == ".dat" and path.is_file():
        raise DataError(
            f"{path}: its header {header.name} is not beside it; a .dat file alone has no rate and leads"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name one recording in it")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, sorted(siblings)).partition("Valid:")[0].strip()
        raise DataError(f"{path} does not exist{': ' + hint if hint else '; check the path'}")
    recognize(path)
    return path

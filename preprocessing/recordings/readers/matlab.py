"""Reader of MATLAB files to version 7; those of version 7.3 are HDF5."""

from __future__ import annotations

from pathlib import Path

from preprocessing.recordings.array_process import count_in_process, read_in_process
from preprocessing.recordings.formats import Format, RawFile, Request, read_head, register_format


def is_mat(head: bytes, path: Path) -> bool:
    """Whether a file begins with the text that MATLAB writes from version 5 on."""
    return head.startswith(b"MATLAB ")


def read_mat(path: Path, request: Request) -> RawFile:
    """Read ``val`` (leads, T) as in CinC 2020/2021, ``ECG.data`` as in CPSC 2018, or the only array."""
    return read_in_process(path, "HDF5" if _is_newest(path) else "MAT", request)


def count_recordings(path: Path) -> int:
    """Number of recordings; only version 7.3 is read with several."""
    return count_in_process(path) if _is_newest(path) else 1


def _is_newest(path: Path) -> bool:
    return read_head(path).startswith(b"MATLAB 7.3")


register_format(Format("MAT", (".mat",), is_mat, read_mat, count=count_recordings))

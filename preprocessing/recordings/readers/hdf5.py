"""Reader of HDF5 files."""

from __future__ import annotations

from pathlib import Path

from preprocessing.recordings.array_process import count_in_process, read_in_process
from preprocessing.recordings.formats import Format, RawFile, Request, register_format


def is_hdf5(head: bytes, path: Path) -> bool:
    """Whether a file begins with the signature of HDF5, or has it after a block of MATLAB's."""
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520])


def read_hdf5(path: Path, request: Request) -> RawFile:
    """Read ``tracings``, (recordings, T, 12) as in Ribeiro et al. 2020, or the only array."""
    return read_in_process(path, "HDF5", request)


register_format(Format("HDF5", (".h5", ".hdf5"), is_hdf5, read_hdf5, count=count_in_process))

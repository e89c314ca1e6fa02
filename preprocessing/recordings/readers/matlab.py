"""Reader of MATLAB files."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np

from preprocessing.recordings.arrays import channels_of_array
from preprocessing.recordings.formats import Format, RawFile, Request, reason, register_format
from utils.errors import DataError

# Runs in a process of its own: SciPy's MATLAB reader can crash the interpreter on damaged files.
_READ_MAT = """
import sys, numpy, scipy.io
content = scipy.io.loadmat(sys.argv[1])
found = [name for name in content if not name.startswith("__")]
if "val" in content:
    array = content["val"]
else:
    fields = content["ECG"].dtype.names if "ECG" in content else None
    array = content["ECG"]["data"][0, 0] if fields and "data" in fields else None
if array is None:
    sys.exit("holds neither 'val' nor 'ECG.data' (found: " + (", ".join(found) or "nothing") + ")")
numpy.save(sys.stdout.buffer, numpy.asarray(array), allow_pickle=False)
"""


def is_mat(head: bytes, path: Path) -> bool:
    """Whether a file begins with the text that MATLAB writes from version 5 on."""
    return head.startswith(b"MATLAB ")


def read_mat(path: Path, request: Request) -> RawFile:
    """Read a MATLAB file: ``val`` (leads, T) as in CinC 2020/2021, or ``ECG.data`` as in CPSC 2018."""
    done = subprocess.run([sys.executable, "-c", _READ_MAT, str(path)], capture_output=True, check=False)
    try:
        array = np.load(io.BytesIO(done.stdout), allow_pickle=False) if done.returncode == 0 else None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a readable MATLAB file ({reason(error)})") from error
    if array is None:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said and done.returncode > 0 else "it crashes the reader"
        raise DataError(
            f"{path}: not a readable MATLAB file ({why}); "
            "in MATLAB, save the signals, shape (12, T), with: save(file, 'val', '-v7')"
        )
    unit = "ADC units" if array.dtype.kind in "iu" else ""
    return channels_of_array(path, "MAT", array, request, unit)


register_format(Format("MAT", (".mat",), is_mat, read_mat))

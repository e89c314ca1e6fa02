"""MATLAB and HDF5 files, read in a process of their own: their libraries can crash on damaged files.

The process has a limit of memory, and looks at the sizes that a file declares before it reads an array.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.recordings.arrays import Stated, channels_of_array, choose_array, lead_count, read_stated
from preprocessing.recordings.formats import RawFile, Request, check_amount, reason
from utils.errors import DataError

_MOST_BYTES = 2**31  # that the process may take beside its libraries
_MOST_CHUNK_BYTES = 2**28  # of a compressed block of an HDF5 file, which is unpacked whole
_MOST_ARRAYS = 1000
_NUMBERS = {"double", "single", "logical", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
_ROOT = Path(__file__).parents[2]


def read_in_process(path: Path, kind: str, request: Request) -> RawFile:
    """Read the signals of a MATLAB or HDF5 file; integers are in ADC units."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", f"from {__name__} import main; main()", str(path), kind, folder]
        command += [json.dumps(list(request.leads) if request.leads else None)]
        # one thread: pools of linear algebra libraries would count as memory that is taken
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), environment.get("PYTHONPATH", "")])
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1][:200] if said and done.returncode > 0 else "it crashes the reader"
            raise _unreadable(path, kind, why) from error
        if "error" in answer:
            raise DataError(answer["error"])
        array = np.load(Path(folder) / "signals.npy", mmap_mode="r", allow_pickle=False)
        raw = channels_of_array(path, kind, array, request, Stated(**answer))
        del array  # before its folder goes
    return raw


def _unreadable(path: Path, kind: str, why: str) -> DataError:
    remedy = "copy or save it again"
    if path.suffix.lower() == ".mat":
        remedy = "in MATLAB, save the signals, shape (12, T), with: save(file, 'val', '-v7')"
    return DataError(f"{path}: not a readable {'MATLAB' if kind == 'MAT' else kind} file ({why}); {remedy}")


def main() -> None:
    """Read the file that the arguments name; writes ``signals.npy`` into a folder and prints JSON."""
    path, kind, folder, leads = sys.argv[1:]
    read = read_matlab if kind == "MAT" else read_hdf5
    try:
        _limit_memory(read)
        array, stated = read(Path(path), Request(leads=json.loads(leads)))
        np.save(Path(folder) / "signals.npy", array, allow_pickle=False)
        answer = vars(stated)
    except DataError as error:
        answer = {"error": str(error)}
    except MemoryError:
        limit = f"it takes more than {_MOST_BYTES / 2**30:.0f} GB of memory"
        answer = {"error": str(_unreadable(Path(path), kind, limit))}
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        answer = {"error": str(_unreadable(Path(path), kind, reason(error)))}
    sys.stdout.write(json.dumps(answer))


def _limit_memory(read: Callable) -> None:
    """Let this process take so much more memory than it has with its libraries, where the system can."""
    if sys.platform != "linux":
        return
    import resource

    if read is read_matlab:
        import scipy.io  # noqa: F401  (so that its size does not count)
    else:
        import h5py  # noqa: F401
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = taken + _MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def read_matlab(path: Path, request: Request) -> tuple[np.ndarray, Stated]:
    """Array of a MATLAB file: ``val`` (CinC 2020/2021), ``ECG.data`` (CPSC 2018), or the only one."""
    import scipy.io

    listed = scipy.io.whosmat(path)
    shapes = {name: shape for name, shape, kind in listed if kind in _NUMBERS}
    small = [
        name
        for name, shape, kind in listed
        if math.prod(shape) <= 100 and kind in {*_NUMBERS, "cell", "char"}
    ]
    arrays: dict[str, Any] = scipy.io.loadmat(path, variable_names=small) if small else {}
    structures = [name for name, shape, kind in listed if kind == "struct" and math.prod(shape) == 1]
    if structures and "val" not in shapes:
        for name, value in scipy.io.loadmat(path, variable_names=structures).items():
            for inner in getattr(getattr(value, "dtype", None), "names", None) or ():
                arrays[f"{name}/{inner}"] = np.asarray(value[inner][0, 0])
        fields = {name: value for name, value in arrays.items() if "/" in name and value.dtype.kind in "iuf"}
        shapes |= {name: value.shape for name, value in fields.items()}
    stated = read_stated(path, arrays, request)
    name = choose_array(path, shapes, lead_count(request, stated))
    check_amount(path, math.prod(shapes[name]))
    array = arrays[name] if name in arrays else scipy.io.loadmat(path, variable_names=[name])[name]
    return array, _with_name(stated, name, ("val", "ECG/data"))


def read_hdf5(path: Path, request: Request) -> tuple[np.ndarray, Stated]:
    """Array of an HDF5 file: ``tracings`` (Ribeiro et al. 2020), a MATLAB 7.3 ``val``, or the only one.

    Links to other files are not followed.
    """
    import h5py

    with h5py.File(path, "r") as file:
        datasets = dict(_datasets(file))
        shapes = {name: data.shape for name, data in datasets.items() if _is_numeric(data)}
        small = {
            name: data for name, data in datasets.items() if math.prod(data.shape) <= 100 and _is_own(data)
        }
        values: dict[str, object] = {
            name: data[()] for name, data in small.items() if name in shapes or _is_text(data)
        }
        values |= {key: file.attrs[key] for key in file.attrs}
        count = lead_count(request, read_stated(path, values, request))
        name = choose_array(path, shapes, count)
        chosen = datasets[name]
        stated = read_stated(path, values | {key: chosen.attrs[key] for key in chosen.attrs}, request)
        if not _is_own(chosen):
            raise DataError(f"{path}: keeps {name} in other files; copy it into one with h5repack")
        if len(chosen.shape) == 3 and len(chosen) > 1:
            raise DataError(
                f"{path}: {name} holds {len(chosen)} recordings; save each in a file of its own: "
                f"for i, x in enumerate(h5py.File('{path.name}')['{name}']): numpy.save(f'{{i}}.npy', x)"
            )
        check_amount(path, math.prod(chosen.shape))
        if math.prod(chosen.chunks or (0,)) * chosen.dtype.itemsize > _MOST_CHUNK_BYTES:
            raise DataError(f"{path}: {name} is stored in blocks that are too large; copy it with h5repack")
        return chosen[()], _with_name(stated, name, ("val", "tracings"))


def _with_name(stated: Stated, name: str, usual: tuple[str, ...]) -> Stated:
    """What a file says, with a note on the array that was taken where its name is not a usual one."""
    notes = [] if name in usual else [f"the array '{name}' holds the signals"]
    return replace(stated, notes=notes + stated.notes)


def _is_own(data: Any) -> bool:
    """Whether an HDF5 file holds the values of a dataset itself."""
    return not data.external and not data.is_virtual


def _is_text(data: Any) -> bool:
    import h5py

    return h5py.check_string_dtype(data.dtype) is not None


def _is_numeric(data: Any) -> bool:
    kind = data.attrs.get("MATLAB_class", b"double")
    return data.dtype.kind in "iuf" and kind not in (b"char", "char", b"cell", "cell")


def _datasets(group: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Datasets of a group and of those inside it; links to other places are left out."""
    import h5py

    members: Mapping[str, Any] = group
    for count, name in enumerate(members):
        if count >= _MOST_ARRAYS:
            return
        if name.startswith("#") or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield prefix + name, item
        elif isinstance(item, h5py.Group) and depth < 3:
            yield from _datasets(item, f"{prefix}{name}/", depth + 1)

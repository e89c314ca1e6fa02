"""MATLAB and HDF5 files, read in a process of their own: their libraries can crash on damaged files.

The process has a limit of memory, and looks at the sizes that a file declares before it reads an array. It
is kept for the next file; `reading_process` has its other side.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.recordings.arrays import (
    SIGNALS,
    Stated,
    channels_of_array,
    choose_array,
    lead_count,
    plain_name,
    read_stated,
)
from preprocessing.recordings.formats import RawFile, Request, check_amount, reason
from preprocessing.recordings.reading_process import ReadingProcess
from utils.errors import DataError

_MOST_BYTES = 2**31  # that the process may take beside its libraries
_MOST_CHUNK_BYTES = 2**28  # of a compressed block of an HDF5 file, which is unpacked whole
_MOST_ARRAYS = 1000
_ASKED = ("leads", "member", "any_leads")  # of a request
_NUMBERS = {"double", "single", "logical", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
_READERS = {kind: ReadingProcess(f"from {__name__} import main; main()", kind) for kind in ("MAT", "HDF5")}


def read_in_process(path: Path, kind: str, request: Request) -> RawFile:
    """Read the signals of a MATLAB or HDF5 file; integers are in ADC units."""
    with tempfile.TemporaryDirectory() as folder:
        answer = _ask(path, kind, _question(request) | {"folder": folder})
        array = np.load(Path(folder) / "signals.npy", mmap_mode="r", allow_pickle=False)
        raw = channels_of_array(path, kind, array, request, Stated(**answer))
        del array  # before its folder goes
    return raw


def _question(request: Request) -> dict[str, Any]:
    """What the process has to know of a request, as JSON."""
    return {name: getattr(request, name) for name in _ASKED}


def count_in_process(path: Path) -> int:
    """Number of recordings of an HDF5 file; 1 where it cannot be read, which reading it will say."""
    try:
        return int(_ask(path, "HDF5", {"count": True})["count"])
    except DataError:
        return 1


def _ask(path: Path, kind: str, question: dict[str, Any]) -> dict[str, Any]:
    """Answer of the process; DataError where it has an error, or has crashed."""
    answer, why = _READERS[kind].ask({"path": os.fspath(path.absolute())} | question)
    if answer is None:
        raise _unreadable(path, kind, why)
    if "unreadable" in answer:
        raise _unreadable(path, kind, answer["unreadable"])
    if "error" in answer:
        raise DataError(answer["error"].replace(os.fspath(path.absolute()), os.fspath(path)))
    return answer


def _unreadable(path: Path, kind: str, why: str) -> DataError:
    remedy = "copy or save it again"
    if path.suffix.lower() == ".mat":
        remedy = "in MATLAB, save the signals, shape (12, T), with: save(file, 'val', '-v7')"
    return DataError(f"{path}: not a readable {'MATLAB' if kind == 'MAT' else kind} file ({why}); {remedy}")


def main() -> None:
    """Answer a line of JSON with another, until there are no more; what is read goes to ``signals.npy``."""
    kind = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    _limit_memory(kind)
    for line in sys.stdin:
        question = json.loads(line)
        answers.write(json.dumps(_answer(kind, question)) + "\n")
        answers.flush()


def _answer(kind: str, question: dict[str, Any]) -> dict[str, Any]:
    path = Path(question["path"])
    try:
        if question.get("count"):
            return {"count": count_hdf5(path)}
        request = Request(**{name: question[name] for name in _ASKED})
        array, stated = (read_matlab if kind == "MAT" else read_hdf5)(path, request)
        np.save(Path(question["folder"]) / "signals.npy", array, allow_pickle=False)
        return vars(stated)
    except DataError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"unreadable": f"it takes more than {_MOST_BYTES / 2**30:.0f} GB of memory"}
    except Exception as error:  # parsers raise nearly every built-in type on damaged files
        return {"unreadable": reason(error)}


def _limit_memory(kind: str) -> None:
    """Let this process take so much more memory than it has with its libraries, where the system can."""
    if kind == "MAT":
        import scipy.io  # noqa: F401  (so that its size does not count)
    else:
        import h5py  # noqa: F401
    if sys.platform != "linux":
        return
    import resource

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
        several = len(chosen.shape) == 3 and (len(chosen) > 1 or request.member is not None)
        if several and request.member is None:
            raise DataError(
                f"{path}: {name} holds {len(chosen)} recordings: name one of them, {path.name}:0 to "
                f"{path.name}:{len(chosen) - 1}; inference.py --dir {path.name} predicts all of them"
            )
        check_amount(path, math.prod(chosen.shape[1:] if several else chosen.shape))
        if math.prod(chosen.chunks or (0,)) * chosen.dtype.itemsize > _MOST_CHUNK_BYTES:
            raise DataError(f"{path}: {name} is stored in blocks that are too large; copy it with h5repack")
        stated = _with_name(stated, name, ("val", "tracings"))
        if not several:
            return chosen[()], stated
        number, note = _find_member(path, datasets, len(chosen), request.member or "")
        return chosen[number], replace(stated, notes=[note, *stated.notes])


def count_hdf5(path: Path) -> int:
    """Number of recordings in the array of a file that holds several, (recordings, T, leads)."""
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {
            name: len(data)
            for name, data in _datasets(file)
            if len(data.shape) == 3 and len(data) > 1 and _is_numeric(data)
        }
    names = [name for wanted in SIGNALS for name in arrays if plain_name(name) == wanted]
    if names or len(arrays) == 1:
        return arrays[names[0] if names else next(iter(arrays))]
    return 1


def _find_member(path: Path, datasets: Mapping[str, Any], count: int, member: str) -> tuple[int, str]:
    """Number of the recording that a user means, and a note with what identifies it beside the number."""
    lists = {
        name: data
        for name, data in datasets.items()
        if data.dtype.kind in "iu" and data.size == count == data.shape[0] and _is_own(data)
    }
    name, given, value = member.partition("=")
    number = -1
    if given and name not in lists:
        raise DataError(f"{path}: has no list '{name}' of whole numbers, one a recording; give {path.name}:0")
    if given and value.isdecimal():
        found = np.flatnonzero(lists[name][()].reshape(-1) == int(value))
        if len(found) > 1:
            raise DataError(f"{path}: {name} {value} is there {len(found)} times; give the number instead")
        number = int(found[0]) if len(found) else -1
    elif member.isdecimal():
        number = int(member)
    if not 0 <= number < count:
        raise DataError(
            f"{path}: holds no recording '{member}'; it has {count}: {path.name}:0 to {path.name}:{count - 1}"
        )
    identified = [
        f"{key} {data[()].reshape(-1)[number]}"
        for key, data in lists.items()
        if plain_name(key).endswith("id")
    ]
    beside = f" ({', '.join(identified[:3])})" if identified else ""
    return number, f"recording {number} of {count}, counted from 0{beside}"


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

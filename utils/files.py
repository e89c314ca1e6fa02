"""Files written whole or not at all, and JSON that other languages can read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from utils.errors import DataError, TwelveLeadError
from utils.text import encodable, short_reason

_ALWAYS_UNPACKED = 2**28  # bytes of an .npz file's arrays that are never too many
_COMPRESSION = 200  # times its own size: maps and masks compress this much, bombs a thousand times
_LARGEST_JSON = 200_000_000  # bytes: digests of millions of recordings
_DEEPEST_JSON = 100  # levels
_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space and run the command again",
    errno.EROFS: "the folder is read-only: choose another output folder",
    errno.EACCES: "no permission to write there: choose another output folder",
    errno.EPERM: "no permission to write there: choose another output folder",
    errno.EDQUOT: "the disk quota is used up: free some space and run the command again",
    errno.EEXIST: "part of the path is a file, not a folder: choose another output folder",
    errno.ENOTDIR: "part of the path is a file, not a folder: choose another output folder",
}


def write_error(path: Path, error: OSError) -> TwelveLeadError:
    """Make the error for a file that cannot be written, with the remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check the path and the disk")
    reason = error.strerror or error
    return TwelveLeadError(f"cannot write {path}: {reason}; {remedy}. Nothing was overwritten.")


def read_error(path: str | os.PathLike, error: OSError) -> DataError:
    """Make the error for a file or folder that the system does not let us read."""
    return DataError(f"{path} cannot be read: {error.strerror or error}; check its permissions")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it replaces `path`, on failure nothing changes.

    The temporary name ends like the final one, because some writers look at the suffix. ``durable=False``
    does not wait for the disk, which takes milliseconds: for one of thousands of files.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix="-" + path.name)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; a result is as readable as any other file the user makes
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            replace_durably(temporary, path)
        else:
            os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def replace_durably(source: Path, target: Path) -> None:
    """Give a file another's place in one step that a power failure does not undo."""
    os.replace(source, target)
    with contextlib.suppress(OSError):  # some systems and file systems cannot open or sync a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def stays_inside(name: str) -> bool:
    """Whether a relative path from a table or list stays in the folder that it is relative to."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or set(name) & set("\\:\0"))


def write_text(path: str | os.PathLike, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically; bytes of file names that are not UTF-8 are written as escapes."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(encodable(text), encoding="utf-8")


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def jsonable(value: Any) -> Any:
    """Turn NumPy values, paths and non-finite numbers into plain JSON values (NaN becomes null)."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | set):
        return [jsonable(v) for v in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def write_json(path: str | os.PathLike, value: Any, durable: bool = True) -> None:
    """Write valid JSON (no NaN) atomically, indented, ending in a newline."""
    write_text(path, json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n", durable)


def check_regular(path: str | os.PathLike) -> None:
    """ValueError for pipes and devices, which might never end; opening a folder says what it is."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("not a regular file")


def read_regular(path: str | os.PathLike, largest: int) -> bytes:
    """Content of a regular file; ValueError for another kind, and for a larger one."""
    check_regular(path)
    with open(path, "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"larger than {largest // 1_000_000} MB")
    return content


def read_json(path: str | os.PathLike, remedy: str = "make it again") -> Any:
    """Read JSON, naming the file, and the remedy, when it cannot be parsed."""
    try:
        value = json.loads(read_regular(path, _LARGEST_JSON).decode("utf-8"))
        check_depth(value)
        return value
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise read_error(path, error) from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, deep nesting
        raise DataError(
            f"{path} is not valid JSON ({short_reason(error)}): it was damaged; {remedy}"
        ) from error


def check_depth(value: Any) -> None:
    """Refuse values nested so deeply that a recursive function could not go through them."""
    level = [value]
    for _ in range(_DEEPEST_JSON):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {_DEEPEST_JSON} levels")


def write_npz(path: str | os.PathLike, **arrays: Any) -> None:
    """Write a compressed .npz atomically; object arrays are refused, so that no reader ever needs pickle."""
    plain = {name: np.asarray(a) for name, a in arrays.items()}
    for name, array in plain.items():
        if array.dtype == object:
            raise TypeError(f"array '{name}' has dtype object and would need pickle")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **plain)  # type: ignore[arg-type]


@contextlib.contextmanager
def open_npz(path: str | os.PathLike) -> Iterator[Any]:
    """Open an .npz file whose arrays are not larger in memory than any honest compression makes them.

    The headers tell the sizes before anything is allocated; ValueError where they cannot be right.
    """
    check_regular(path)
    with open(path, "rb") as stream:
        if stream.read(2) != b"PK":  # numpy's own message would recommend to unpickle it
            raise ValueError("not an .npz file")
        stream.seek(0)
        with zipfile.ZipFile(stream) as archive:
            headers = array_headers(archive).values()
            sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in headers]
        if sum(sizes) > max(_ALWAYS_UNPACKED, _COMPRESSION * os.fstat(stream.fileno()).st_size):
            raise ValueError(f"its arrays would take {sum(sizes) / 1e9:.1f} GB, far too much for its size")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            yield file


def read_array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether stored by columns, and type of the array of a .npy file; ValueError where damaged."""
    try:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        return read(file)
    except (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError) as error:
        raise ValueError(f"the header of its array is damaged ({error})") from error


def array_headers(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array of an .npz file, by the headers alone; ValueError where they are wrong."""
    headers = {}
    for member in archive.infolist():
        with archive.open(member) as file:
            shape, _, dtype = read_array_header(file)
            size = file.tell() + math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and size != member.file_size:
                raise ValueError(f"{member.filename} does not hold the array that its header describes")
        headers[member.filename.removesuffix(".npy")] = (shape, dtype)
    return headers


def read_npz(path: str | os.PathLike, remedy: str) -> dict[str, np.ndarray]:
    """Read an .npz file of plain arrays."""
    try:
        with open_npz(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path} cannot be read ({short_reason(error)}): {remedy}") from error


def slug(text: str) -> str:
    """Text as a file name: letters, digits, ``.``, ``_`` and ``-`` stay, the rest become ``_``."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file as lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A lock that a process holds on a run, released when the process ends in any way."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from pathlib import Path
from typing import Any

from utils.errors import UsageError
from utils.files import write_error

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class RunLock:
    """An exclusive lock in the file ``.NAME.lock`` beside a folder, which names host and process.

    The system releases it when the process ends, so that a killed run does not block others. On a file system
    without locks nothing is held.

    ``folder``: what is locked; it need not exist, and may be removed and made again meanwhile.
    ``top``: folder up to which empty parents are removed at the end.
    """

    def __init__(self, folder: Path, top: Path):
        self.path = folder.parent / f".{folder.name}.lock"
        self.top = top
        self._file: Any = None

    def acquire(self, what: str) -> None:
        """Take the lock on ``what`` (in messages), or raise `UsageError` that names who holds it."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        while self._file is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  (open as long as it is held)
            except FileNotFoundError:  # another process has just removed the empty folder
                continue
            except OSError as error:
                raise write_error(self.path, error) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{what} is in use by {_holder(file)}: wait for it, or choose another --run"
                ) from error
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    raise
                return
            else:
                if _is_at(file, self.path):
                    self._file = file
            finally:
                if file is not self._file:  # also where the file was removed between opening and locking it
                    file.close()
        self._file.truncate(0)
        self._file.write(json.dumps({"host": platform.node(), "pid": os.getpid()}))
        self._file.flush()

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._file.close()
        self._file = None
        folder = self.path.parent
        with contextlib.suppress(OSError):
            while folder != self.top and self.top in folder.parents:
                folder.rmdir()
                folder = folder.parent


def _is_at(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(file: Any) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read(1000))
        return f"process {int(holder['pid'])} on {str(holder['host'])[:100]}"
    except (ValueError, KeyError, TypeError):
        return "another process"

"""A lock that a process holds on a run, released when the process ends in any way."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.errors import UsageError
from utils.files import write_error

logger = logging.getLogger(__name__)

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class RunLock:
    """A lock in the file ``.NAME.lock`` beside a folder, which names host and process.

    The system releases it when the process ends, so that a killed run does not block others. Of several
    processes that train together the first one holds it. Where there are no locks a note says so.

    ``folder``: what is locked; it need not exist, and may be removed and made again meanwhile.
    ``top``: folder up to which empty parents are removed at the end.
    ``remedy``: what one can do where another process holds it.
    """

    def __init__(self, folder: Path, top: Path, remedy: str = "wait for it, or choose another --run"):
        self.path = folder.parent / f".{folder.name}.lock"
        self.top = top
        self.remedy = remedy
        self._file: Any = None

    def acquire(self, what: str, shared: bool = False) -> None:
        """Take the lock on ``what`` (in messages), or raise `UsageError` that names who holds it.

        ``shared``: several processes may hold it, but none that wants it alone.
        """
        if os.environ.get("LOCAL_RANK", "0") != "0":
            return
        try:
            import fcntl
        except ImportError:  # Windows
            logger.warning(f"note: this system has no file locks: let no second command write {what}")
            return
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while self._file is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  (open as long as it is held)
            except FileNotFoundError:  # another process has just removed the empty folder
                continue
            except OSError as error:
                raise write_error(self.path, error) from error
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{what} is in use by {_holder(file)}: {self.remedy}") from error
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    raise
                logger.warning(f"note: this file system has no locks: let no second command write {what}")
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

    @property
    def held(self) -> bool:
        """Whether this process holds the lock; not where there are none."""
        return self._file is not None

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._file is None:
            return
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where others share it
            self.path.unlink()
        self._file.close()
        self._file = None
        folder = self.path.parent
        with contextlib.suppress(OSError):
            while folder != self.top and self.top in folder.parents:
                folder.rmdir()
                folder = folder.parent


@contextlib.contextmanager
def locked(folder: Path, top: Path, what: str, shared: bool = False, **options: str) -> Iterator[None]:
    """Hold a `RunLock` with these options for the time of the block."""
    lock = RunLock(folder, top, **options)
    lock.acquire(what, shared)
    try:
        yield
    finally:
        lock.release()


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

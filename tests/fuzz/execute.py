"""One execution of a target, and what must hold for every input."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.fuzz.targets import Target
from utils.errors import TwelveLeadError

BYTES_A_SAMPLE = 12
ALWAYS_ALLOWED = 64 * 2**20  # bytes
LONGEST_MESSAGE = 3000  # characters
_ROOT = Path(__file__).resolve().parents[2]
_CODE = tuple(
    {os.path.realpath(p) for p in (_ROOT, sys.prefix, sys.base_prefix, *sys.path) if p}
    | {"/proc", "/dev", "/sys", "/usr", "/etc"}
)


class Finding(Exception):
    """Something that must not happen; ``kind`` is equal for findings that have one cause."""

    def __init__(self, kind: str, text: str = ""):
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


class Watch:
    """Notes every file that Python opens for reading while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.opened: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self.opened.append(os.fsdecode(arguments[0]))


_WATCH = Watch()


def _peak_memory(reset: bool = False) -> int:
    """Peak resident bytes since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


def _where(error: BaseException) -> str:
    """Type of an error and the last place of our own code that it went through."""
    own = [
        f"{Path(frame.filename).relative_to(_ROOT)}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_ROOT) and ".venv" not in frame.filename
        and "tests/fuzz" not in frame.filename
    ]  # fmt: skip
    return f"{type(error).__name__} in {own[-1] if own else 'a library'}"


def execute(target: Target, data: bytes, folder: Path) -> bool:
    """Let a target read an input; whether it was accepted. Raises `Finding`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = target.unpack(data, folder)
    measured = sys.platform == "linux"
    before = _peak_memory(reset=True) if measured else 0
    _WATCH.opened.clear()
    _WATCH.on = True
    result = None
    try:
        result = target.read(path)
    except TwelveLeadError as error:
        _check_message(str(error), path)
    except Exception as error:
        raise Finding(_where(error), str(error)[:200]) from error
    finally:
        _WATCH.on = False
    _check_opened(folder)
    samples = 0 if result is None else target.check(data, result)
    if measured:
        grown = _peak_memory() - before
        if grown > BYTES_A_SAMPLE * samples + ALWAYS_ALLOWED:
            raise Finding("memory", f"{grown / 2**20:.0f} MB for {samples} samples")
    return result is not None


def _check_message(text: str, path: Path) -> None:
    if path.stem not in text and str(path.parent) not in text:
        raise Finding("message without the file", text[:200])
    if len(text) > LONGEST_MESSAGE:
        raise Finding("long message", f"{len(text)} characters, {text[:200]}")


def _check_opened(folder: Path) -> None:
    inside = os.path.realpath(folder)
    own = re.compile(re.escape(os.path.realpath(tempfile.gettempdir())) + r"/tmp[a-z0-9_]{8}(/.*)?")
    for name in _WATCH.opened:
        real = os.path.realpath(name)
        if name.isdigit() or own.fullmatch(real):  # a descriptor, or a folder of `tempfile`
            continue
        if not real.startswith((inside, *_CODE)):
            raise Finding("file outside of the folder", real)

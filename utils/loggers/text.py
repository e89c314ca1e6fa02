"""Log to a text file what a command prints of a training, with times."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

from utils.files import write_text
from utils.loggers.base import RunInfo, TrainingLogger, numbers, register_logger

NUMBERS = {"numbers": True}  # ``extra`` of log messages that repeat what `TrainingLogger.log` gets
_EPOCH = re.compile(r"\S+ epoch (\d+): ")


class _File(logging.Handler):
    """Append messages to a file; each is on the disk when the call returns."""

    def __init__(self, path: Path):
        super().__init__(logging.INFO)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "numbers"):
            self.write(self.format(record))

    def write(self, text: str) -> None:
        """Append lines that begin with the time (UTC)."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with open(self._path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(f"{moment} {line}\n" for line in text.splitlines()))


@register_logger("text")
class TextLogger(TrainingLogger):
    """``log.txt``: messages of the package ``training``, and a line for each epoch."""

    writes = "log.txt"

    def __init__(self, info: RunInfo):
        path = info.folder / "log.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_epochs(path, info.done)
        self._file = _File(path)
        logging.getLogger("training").addHandler(self._file)

    def log(self, row: dict[str, Any]) -> None:
        values = ", ".join(f"{name} {value:g}" for name, value in numbers(row).items())
        self._file.write(f"epoch {row['epoch']}: {values}")

    def close(self) -> None:
        logging.getLogger("training").removeHandler(self._file)


def _drop_epochs(path: Path, done: int) -> None:
    """Drop lines of epochs that are trained again, and half a line of a killed process."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    kept = [line for line in lines if not ((match := _EPOCH.match(line)) and int(match[1]) > done)]
    if "".join(kept) != text:
        write_text(path, "".join(kept))

"""A process that answers questions with JSON, and is started again when a question has ended it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).parents[2]
_MOST_QUESTIONS = 10_000  # of a process: what libraries leak ends with it


class ReadingProcess:
    """A process that runs Python code, which answers each line of standard input with one of output.

    It starts with the first question, ends with this process, and belongs to it alone: one that was forked
    starts another. Questions of several threads wait for each other.
    """

    def __init__(self, code: str, *arguments: str):
        self._command = [sys.executable, "-c", code, *arguments]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._inherited: subprocess.Popen[str] | None = None  # of the process that has forked this one
        self._owner = 0
        self._asked = 0
        self._errors: IO[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def ask(self, question: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The answer; none, and why, where the question has ended the process."""
        with self._lock:
            if self._owner != os.getpid():
                self._inherited, self._process = self._process, None
            if self._process is None or self._process.poll() is not None or self._asked >= _MOST_QUESTIONS:
                self._close()
                self._start()
            process, self._asked = self._process, self._asked + 1
            assert process is not None and process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
            except (ValueError, OSError):  # no line, or half of one
                return None, self._last_words()
            return answer, ""

    def _start(self) -> None:
        # one thread: pools of linear algebra libraries would count as memory that is taken
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), environment.get("PYTHONPATH", "")])
        self._folder = tempfile.TemporaryDirectory()
        self._errors = open(Path(self._folder.name) / "errors", "w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        if not self._owner:
            atexit.register(self._close)
        self._owner, self._asked = os.getpid(), 0

    def _last_words(self) -> str:
        """Why the process has ended, which a signal or its last line says."""
        assert self._process is not None and self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        self._close()
        return said[-1][:200] if said and code > 0 else "it crashes the reader"

    def _close(self) -> None:
        """Let the process end."""
        if self._process is None or self._owner != os.getpid():
            return
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was not written yet, to a process that has ended
                    continue
        self._process.wait()
        self._process = None
        if self._folder is not None:
            self._folder.cleanup()

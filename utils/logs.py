"""Logging: library functions log, and a command shows what they log as plain lines."""

from __future__ import annotations

import logging
import sys

PACKAGES = (
    "utils",
    "databases",
    "preprocessing",
    "models_tf",
    "models_torch",
    "training",
    "explain",
    "attribution",
)


class _Console(logging.Handler):
    """Information to standard output, warnings and errors to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = (
            sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        )  # looked up late: tests replace them
        print(self.format(record), file=stream, flush=True)


def show_logs(level: int = logging.INFO) -> None:
    """Let the loggers of our packages print; other people's stay as they are."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Console) for handler in logger.handlers):
            logger.addHandler(_Console())
            logger.setLevel(level)
            logger.propagate = False

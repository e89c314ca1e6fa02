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


class Console(logging.Handler):
    """Information to standard output, warnings and errors to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        # looked up here, because streams are replaced meanwhile: by tests, and in all processes but the first
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(self.format(record), file=stream, flush=True)


def show_logs(level: int = logging.INFO) -> None:
    """Print what the loggers of our packages log; others stay as they are."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, Console) for handler in logger.handlers):
            logger.addHandler(Console())
            logger.setLevel(level)
            logger.propagate = False

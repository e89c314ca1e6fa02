"""User-facing errors: what was wrong, where, and the remedy."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from utils.logs import show_logs
from utils.text import open_console, printable


class TwelveLeadError(Exception):
    """A problem the user can act on.

    The message names what was wrong, where (file, record, column) and the remedy. `run_cli` prints it
    without a traceback and ends the process with `exit_code`.
    """

    exit_code = 1


class UsageError(TwelveLeadError):
    """A command, flag, configuration key or argument that cannot be right (exit code 2)."""

    exit_code = 2


class DataError(TwelveLeadError):
    """A recording, table or file whose content cannot be used as it is."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Text with the valid names and the one that was probably meant."""
    names = [str(v) for v in valid]
    lower = {v.lower(): v for v in names}
    close = difflib.get_close_matches(str(name).lower(), list(lower), n=1, cutoff=0.5)
    hint = f"did you mean '{lower[close[0]]}'? " if close else ""
    return f"{hint}Valid: {', '.join(names)}"


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a command-line entry point and turn user errors into one clear line and an exit code."""
    show_logs()
    open_console()
    code: Any
    try:
        code = _exit_code(main)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except BrokenPipeError:  # the reader of a pipe, such as head, has enough
        _drop_output()
        code = 141
    except OSError as error:  # a full disk behind standard output
        _drop_output()
        code = 1
        with contextlib.suppress(OSError):
            os.write(2, f"error: the output cannot be written: {error.strerror}\n".encode())
    sys.exit(code)


def _exit_code(main: Callable[[], int | None]) -> Any:
    """Exit code of a command, whose errors are printed."""
    try:
        return main() or 0
    except TwelveLeadError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:  # what no closer place has explained
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; check the path and its permissions", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except SystemExit as ended:  # argparse, after --help or a wrong flag
        return ended.code


def _drop_output() -> None:
    """Send what is still to be written nowhere, or the interpreter would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nowhere, number)

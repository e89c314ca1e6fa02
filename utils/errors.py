"""User-facing errors: what was wrong, where, and the remedy."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable

from utils.logs import show_logs


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
    """Say which valid names exist and which one was probably meant."""
    names = [str(v) for v in valid]
    lower = {v.lower(): v for v in names}
    close = difflib.get_close_matches(str(name).lower(), list(lower), n=1, cutoff=0.5)
    hint = f"did you mean '{lower[close[0]]}'? " if close else ""
    return f"{hint}Valid: {', '.join(names)}"


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a command-line entry point and turn user errors into one clear line and an exit code."""
    show_logs()
    try:
        code = main() or 0
        sys.stdout.flush()
    except TwelveLeadError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:  # the reader of a pipe, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:  # what no closer place has explained
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; check the path and its permissions", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 130
    sys.exit(code)

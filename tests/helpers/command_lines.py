"""Several command lines in one process, which imports the frameworks only once.

Each runs as ``python SCRIPT ...`` or ``python -m MODULE ...`` would: the file itself, as ``__main__``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """How a command line ended, and what it printed."""

    line: str
    code: int
    out: str
    err: str


def run_lines(lines: Sequence[str], folder: Path, *, check: bool = True, **environment: str) -> list[Done]:
    """Run command lines in a folder, one after the other.

    ``check``: whether the first failure is the last command and fails the test.
    """
    words = [sys.executable, "-m", __name__, "" if check else "--all"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    child = subprocess.run(
        words, input=json.dumps(lines), cwd=folder, env=variables, capture_output=True, text=True, timeout=550
    )
    assert child.returncode == 0, child.stdout + child.stderr
    done = [Done(*values) for values in json.loads(child.stdout.splitlines()[-1])]
    failed = [part for part in done if part.code]
    assert not (check and failed), f"{failed[0].line}: exit code {failed[0].code}\n{failed[0].err}"
    return done


def run_here(line: str) -> Done:
    """Run one command line in this process."""
    words = shlex.split(line.removeprefix("python "))
    module = words[0] == "-m"
    name, sys.argv = (words[1], words[1:]) if module else (words[0], words)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)  # an earlier command's
        try:
            if module:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
    return Done(line, code, out.getvalue(), err.getvalue())


def main() -> None:
    """Read command lines as JSON and print how they ended as JSON."""
    done: list[Done] = []
    until_failure = "--all" not in sys.argv
    for line in json.load(sys.stdin):
        done.append(run_here(line))
        if done[-1].code and until_failure:
            break
    print(json.dumps([[part.line, part.code, part.out, part.err] for part in done]))


if __name__ == "__main__":
    main()

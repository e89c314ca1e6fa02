"""Any text reaches the console, a pipe and a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import write_text
from utils.text import encodable, listed, printable, short_reason

ROOT = Path(__file__).resolve().parents[2]
_COMMAND = "from utils.errors import run_cli\n\ndef main():\n    {}\n\nrun_cli(main)\n"


def run(body, shell="", **environment):
    """Run a command of one line; `shell` follows it on a command line of bash."""
    words = [sys.executable, "-c", _COMMAND.format(body)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    if shell:
        words = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *words]
    return subprocess.run(words, capture_output=True, env=variables, timeout=120)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("text", ["\u03bcV", "M\udcfcller", "\u5fc3\u7535\u56fe", "\ud800"])
def test_console_takes_any_text(encoding, text):
    for body in (f"print({text!r})", f"from utils.errors import DataError; raise DataError({text!r})"):
        done = run(body, PYTHONIOENCODING=encoding)
        assert b"Traceback" not in done.stderr and (done.stdout or done.stderr).strip()


@pytest.mark.parametrize("shell", ["| head -c 10", "2>&1 | head -c 10", "| true"])
def test_pipe_that_is_broken_ends_a_command_in_silence(shell):
    body = "import sys; [print(i * 'x', file=sys.stderr if i % 2 else sys.stdout) for i in range(9999)]"
    done = run(body, shell if "2>&1" in shell else f"2>/dev/null {shell}")
    assert done.returncode == 141 and b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_pipe_of_the_help_that_is_broken_ends_in_silence():
    words = [sys.executable, "-m", "twelvelead", "--help"]
    done = subprocess.run(["bash", "-c", '"$@" | true', "bash", *words], cwd=ROOT, capture_output=True)
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_full_behind_standard_output_is_said():
    done = run("print('x')", "> /dev/full")
    assert done.returncode == 1 and b"No space left" in done.stderr and b"Traceback" not in done.stderr


def test_closed_output_does_not_matter():
    assert run("print('x')", ">&-").returncode == 0


def test_printable_text():
    assert printable("M\udcfcller\0\x1b[2J\n") == r"M\xfcller\x00\x1b[2J" + "\n"
    assert printable("a" * 100, 10) == "a" * 10 + " ..." and printable("µ 心") == "µ 心"
    assert listed([str(i) for i in range(30)], 3) == "0, 1, 2 and 27 more"


def test_undecodable_names_are_written_as_escapes(tmp_path):
    write_text(tmp_path / "x.csv", "M\udcfcller,\ud800\n")
    assert (tmp_path / "x.csv").read_bytes() == b"M\\xfcller,\\ud800\n"
    assert encodable("µ") == "µ"


def test_reason_of_a_parser_is_short_and_printable():
    assert short_reason(ValueError("a\n  b\x00c")) == "a b\\x00c"
    assert short_reason(KeyError()) == "KeyError"
    assert len(short_reason(ValueError("x" * 10_000))) < 310

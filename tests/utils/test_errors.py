"""Errors of the system reach people as one line with the file and a remedy."""

import pytest

from utils.errors import DataError, UsageError, run_cli
from utils.files import read_json


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            PermissionError(13, "Permission denied", "a.csv"),
            1,
            "error: a.csv: Permission denied; check the path and its permissions",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "error: No space left on device; check the path and its permissions",
        ),
        (OSError("odd"), 1, "error: odd; check the path and its permissions"),
        (DataError("bad file"), 1, "error: bad file"),
        (UsageError("bad flag"), 2, "error: bad flag"),
    ],
)
def test_command_ends_with_one_line_and_a_code(capsys, error, code, line):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run_cli(main)
    assert ended.value.code == code
    assert capsys.readouterr().err == line + "\n"


def test_errors_of_other_kinds_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli(lambda: 1 // 0)


def test_json_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory; check its permissions"):
        read_json(tmp_path)
    for text in ("{", "[" * 100_000, "9" * 5000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match="is not valid JSON"):
            read_json(tmp_path / "x.json")

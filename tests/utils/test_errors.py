"""Errors of the system reach people as one line with the file and a remedy."""

import os
import stat

import pytest

from utils.errors import DataError, UsageError, run_cli
from utils.files import read_json, read_npz, write_text


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
    deep = '{"a": ' * 101 + "1" + "}" * 101
    for text in (
        "{",
        "[" * 100_000,
        "9" * 5000,
        deep,
        "[" * 400 + "]" * 400,
        '"\xff"',
        '{"a": ' + "x" * 10_000,
    ):
        (tmp_path / "x.json").write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match="is not valid JSON") as caught:
            read_json(tmp_path / "x.json")
        assert len(str(caught.value)) < 600
    (tmp_path / "x.json").write_text("[" * 99 + "]" * 99)
    assert read_json(tmp_path / "x.json")


def test_json_of_a_pipe_or_without_end_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "card.json")
    with pytest.raises(DataError, match="not a regular file"):
        read_json(tmp_path / "card.json")
    with pytest.raises(DataError, match="not a regular file"):
        read_npz(tmp_path / "card.json", "make it again")
    monkeypatch.setattr("utils.files._LARGEST_JSON", 10)
    (tmp_path / "x.json").write_text('{"a": "bcdefg"}')
    with pytest.raises(DataError, match="larger than"):
        read_json(tmp_path / "x.json")


def test_files_are_replaced_durably(tmp_path, monkeypatch):
    """The folder is synced after the file took its name: else a power failure can undo the renaming."""
    events, replace, sync = [], os.replace, os.fsync

    def watched_sync(number):
        events.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        sync(number)

    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    monkeypatch.setattr(os, "fsync", watched_sync)
    write_text(tmp_path / "a.txt", "a")
    assert events == ["file", "replace", "folder"]


def test_files_are_replaced_where_folders_cannot_be_synced(tmp_path, monkeypatch):
    sync = os.fsync

    def refuse(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(22, "Invalid argument")
        sync(number)

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"

"""A search for recordings says what it left out, and takes several paths and patterns."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preprocessing.recordings.ahead import Reading, read_ahead
from preprocessing.recordings.search import find_recordings, search_recordings
from tests.helpers.ecg_files import SIGNALS, make_signals, write_csv, write_wfdb
from utils.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path):
    """A folder with two recordings and much else."""
    root = tmp_path / "in"
    for name in ("ward", ".ipynb_checkpoints", "results/ecgnet", "results/ecgnet/a"):
        (root / name).mkdir(parents=True)
    write_csv(root / "a.csv", SIGNALS[:20])
    write_wfdb(root / "ward", SIGNALS[:600])
    (root / "ward" / "rec.atr").write_bytes(b"\0\0")
    shutil.copy(root / "a.csv", root / ".ipynb_checkpoints" / "a-checkpoint.csv")
    for name in ("predictions.csv", "settings.yaml"):
        (root / "results" / "ecgnet" / name).write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "broken.csv").symlink_to(tmp_path / "nowhere.csv")
    (root / "linked.csv").symlink_to(root / "a.csv")
    (root / "report.pdf").write_bytes(b"%PDF-1.7")
    (root / "readme.txt").write_text("Recorded in 2024, see 12.3 and page 4; all 12 leads.\n" * 5)
    (root / "table.txt").write_text((root / "a.csv").read_text())
    (root / ".hidden.csv").write_text("x")
    return root


def test_search_says_what_it_left_out(folder):
    found = search_recordings([folder])
    names = [str(found.name(recording)) for recording in found.recordings]
    assert names == ["a.csv", "linked.csv", "table.txt", "ward/rec.hea"]
    said = "\n".join(found.left_out)
    for reason, name in {
        "links to folders, which are not followed (1)": "link",
        "links whose target cannot be read (1)": "broken.csv",
        "hidden files or folders (2)": ".ipynb_checkpoints",
        "folders of earlier results (1)": "results/ecgnet",
        "files of formats that are not read (1)": "report.pdf",
        "texts without a table (1)": "readme.txt",
    }.items():
        line = next(line for line in found.left_out if line.startswith(reason))
        assert name in line, said
    assert "rec.atr" not in said and "rec.dat" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_search_names_folders_that_cannot_be_read(folder):
    (folder / "ward").chmod(0)
    try:
        assert any(
            "cannot be read (Permission denied)" in line for line in search_recordings([folder]).left_out
        )
    finally:
        (folder / "ward").chmod(0o755)


def test_search_names_folders_that_fail(folder, monkeypatch):
    walk = os.walk

    def failing(root, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder / "ward")))
        return walk(root)

    monkeypatch.setattr("os.walk", failing)
    assert f"folders that cannot be read (Permission denied) (1): {folder / 'ward'}" in (
        search_recordings([folder]).left_out
    )


def test_several_paths_and_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = search_recordings(["ward/rec", "a.csv", "*.csv", "*.pdf"])
    assert [str(found.name(r)) for r in found.recordings] == ["ward/rec.hea", "a.csv", "linked.csv"]
    assert found.left_out == [
        "links whose target cannot be read (1): broken.csv",
        "files that are not read (1): report.pdf",
    ]
    assert find_recordings("**/*.hea") == [Path("ward/rec.hea")]
    with pytest.raises(DataError, match=r"x\*\.edf: no file matches this pattern"):
        find_recordings(["a.csv", "x*.edf"])
    shutil.copy("a.csv", "b[1].csv")
    assert find_recordings("b[1].csv") == [Path("b[1].csv")]


@pytest.mark.parametrize("path", ["", "  "])
def test_empty_path_is_refused(path):
    with pytest.raises(UsageError, match="path is empty"):
        find_recordings(path)


def test_path_with_a_null_character_is_refused():
    with pytest.raises(UsageError, match="cannot hold the character"):
        find_recordings("a\0b")


def test_files_of_two_folders_keep_their_names_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / "x.csv", SIGNALS[:20])
    found = search_recordings([tmp_path / "one", tmp_path / "two" / "x.csv"])
    assert [str(found.name(r)) for r in found.recordings] == ["one/x.csv", "two/x.csv"]


def crash(path: Path) -> None:
    """Stand for a reader that brings its process down."""
    os._exit(1)


class Crashing(Reading):
    """Reads text tables, and dies of those that are named so."""

    def read(self, path):
        if path.name.startswith("crash"):
            crash(path)
        if path.name.startswith("odd"):
            raise ZeroDivisionError("odd")
        return super().read(path)


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_recordings_are_read_ahead_in_order(tmp_path, processes):
    paths = [write_csv(tmp_path / f"{i:02d}.csv", make_signals(100) * (1 + i / 10)) for i in range(7)]
    paths.insert(3, tmp_path / "absent.csv")
    reading = Reading(100, 1000, given_rate=100, units="mV")
    parts = list(read_ahead(reading, paths, 2, processes))
    assert [path for part, _ in parts for path in part] == paths
    results = [result for _, part in parts for result in part]
    assert "absent.csv does not exist" in results.pop(3)
    for i, recording in enumerate(results):
        np.testing.assert_allclose(recording.signal, make_signals(100) * (1 + i / 10), atol=1e-3)


def test_processes_that_do_not_start_are_an_error_of_no_file(tmp_path):
    """A script without a guard starts itself again in each process."""
    np.save(tmp_path / "a.npy", make_signals(100))
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from preprocessing.recordings.ahead import Reading, read_ahead\n"
        f"paths = [Path({str(tmp_path / 'a.npy')!r})]\n"
        "list(read_ahead(Reading(100, 1000, 100), paths, 1, 1))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "needs `if __name__ == '__main__':`" in done.stderr


def test_search_reads_on_after_a_bad_file(tmp_path):
    for name in ("a", "crash", "c", "odd", "e", "f", "g"):
        write_csv(tmp_path / f"{name}.csv", make_signals(100))
    paths = sorted(tmp_path.glob("*.csv"))
    results = [r for _, part in read_ahead(Crashing(100, 1000, 100), paths, 3, 1) for r in part]
    texts = {
        path.stem: result for path, result in zip(paths, results, strict=True) if isinstance(result, str)
    }
    assert texts.keys() == {"crash", "odd"}
    assert "ends the process" in texts["crash"]
    assert "odd.csv: reading it failed unexpectedly (ZeroDivisionError: odd)" in texts["odd"]

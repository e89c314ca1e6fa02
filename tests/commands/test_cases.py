"""Files that people have, with the right answer for each; they lie beside the shared recordings."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preprocessing.recordings.external import read_recording
from preprocessing.recordings.search import search_recordings
from tests.helpers.training_files import write_untrained
from utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cases(shared_data) -> Path:
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def predict(out, source, model="ecgnet", **environment):
    words = [sys.executable, "inference.py", "--dir", source, "--model", model, "--output_dir", out]
    words = [*map(str, words), "--no_pictures"]
    variables = {**os.environ, **environment}
    return subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, timeout=300)


@pytest.mark.parametrize("name", ["rail8s.hea", "lsbnoise.hea", "clip.hea", "mains50cos.hea"])
def test_signal_lost_in_part_is_read_or_refused_for_the_lead(cases, name):
    try:
        recording = read_recording(cases / "07_signal_lost_in_part" / name)
    except DataError as error:
        assert "lead" in str(error)
    else:
        assert recording.signal.shape[1] == 12 and np.isfinite(recording.signal).all()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_file_name_that_is_not_utf8_ends_no_batch(cases, tmp_path, encoding):
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    (tmp_path / "in").mkdir()
    shutil.copy(cases / "08_file_name" / "second.csv", tmp_path / "in")
    name = os.fsdecode(os.fsencode(tmp_path / "in") + b"/M\xfcller.csv")
    shutil.copy(cases / "08_file_name" / "M_ller.csv", name)
    done = predict(tmp_path, tmp_path / "in", PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    with open(tmp_path / "results" / "ecgnet" / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = {row["record"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {r"M\xfcller", "second"} and not any(row["error"] for row in rows.values())
    alone = predict(tmp_path, name, PYTHONIOENCODING=encoding)
    assert alone.returncode == 0 and b"Traceback" not in alone.stderr


def test_search_of_a_folder_says_what_it_left_out(cases, tmp_path):
    shutil.copytree(cases / "11_folder", tmp_path / "in")
    real = tmp_path / "in" / "real"
    (real / "ipynb_checkpoints").rename(real / ".ipynb_checkpoints")
    (real / "link").symlink_to("../elsewhere")
    found = search_recordings([real])
    names = {str(found.name(recording)) for recording in found.recordings}
    said = " ".join(found.left_out)
    assert "a.csv" in names and not any("checkpoint" in name or "linked" in name for name in names)
    for name in ("link", "b.npz", "c.bdf", "d.txt"):
        assert name in names or name in said, said


@pytest.mark.tf
def test_keras_settings_of_a_home_folder_change_no_answer(cases, tmp_path):
    write_untrained(tmp_path / "checkpoints" / "mousavi", "mousavi", samples=1000)
    home = tmp_path / "home"
    shutil.copytree(cases / "13_keras_json" / "keras", home / ".keras")
    answers = []
    for folder in (home, tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        done = predict(
            tmp_path,
            cases / "09_csv" / "hms.csv",
            "mousavi",
            HOME=str(folder),
            KERAS_HOME=str(folder / ".keras"),
        )
        assert done.returncode == 0, done.stderr
        answers.append([line for line in done.stdout.decode().splitlines() if "threshold" in line])
    assert answers[0] == answers[1] and len(answers[0]) == 5

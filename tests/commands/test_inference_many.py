"""inference.py on many recordings: batches, resuming, names that nothing can encode."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import inference
from explain.journal import Journal
from tests.commands.test_inference import ask, ecg, prediction_of, probabilities, write_csv
from tests.helpers.training_files import CLASSES, call, write_untrained
from training import load_predictor

ROOT = Path(__file__).resolve().parents[2]
RATE = ("--sampling_rate", "100", "--units", "mV", "--no_pictures")


@pytest.fixture
def out(tmp_path):
    write_untrained(tmp_path / "out" / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    return tmp_path / "out"


@pytest.fixture
def folder(tmp_path):
    """Seventy recordings, more than one batch and enough for a process that reads ahead."""
    (tmp_path / "in").mkdir()
    for i in range(70):
        np.save(tmp_path / "in" / f"{i:02d}.npy", ecg(seed=i) / 1000)
    return tmp_path / "in"


def table(out, model="ecgnet"):
    with open(out / "results" / model / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_folder_is_predicted_in_batches_as_file_by_file(out, folder, capsys):
    (folder / "35.npy").write_bytes(b"damaged")
    assert ask(out, folder, *RATE) == 1
    rows = table(out)
    assert [row["record"] for row in rows] == [f"{i:02d}" for i in range(70)]
    assert "35.npy" in rows[35]["error"] and not rows[35]["NORM"]
    signals = np.stack([ecg(seed=i) / 1000 for i in range(70)])
    expected = load_predictor("ecgnet", out).predict(signals)
    for i, row in enumerate(rows):
        if i != 35:
            np.testing.assert_allclose([float(row[name]) for name in CLASSES], expected[i], atol=3e-6)
    np.testing.assert_allclose(probabilities(prediction_of(out, "69")), expected[69], atol=3e-6)
    assert "69 of 70 recordings predicted" in capsys.readouterr().out
    assert not list((out / "results" / "ecgnet").glob(".*"))


def test_parquet_table_holds_what_the_csv_holds(out, folder, tmp_path):
    few = [folder / f"{i:02d}.npy" for i in range(3)]
    few[1].write_bytes(b"damaged")
    odd = tmp_path / "in" / os.fsdecode(b"=M\xfcller.npy")
    odd.write_bytes(b"damaged, and its name is not UTF-8")
    words = ("inference.py", "--model", "ecgnet", "--output_dir", out, *RATE, "--dir", *few, odd)
    for kind in ("csv", "parquet"):
        assert call(inference.main, *words, "--table", kind) == 1
    path = out / "results" / "ecgnet" / "predictions.parquet"
    schema = pq.read_schema(path)
    assert [str(kind) for kind in schema.types] == ["string", *["double"] * 5, "string", "string"]
    assert b"not a medical device" in schema.metadata[b"notice"].lower()
    frame, rows = pd.read_parquet(path), table(out)
    assert list(frame.columns) == list(rows[0])
    assert frame["record"].tolist() == ["00", "01", "02", r"=M\xfcller"]
    assert rows[3]["record"] == r"'=M\xfcller"
    for name in CLASSES:
        expected = [float(row[name] or "nan") for row in rows]
        np.testing.assert_array_equal(frame[name].to_numpy(), expected)
    assert frame["error"].isna().tolist() == [True, False, True, False]


def test_recordings_of_an_hdf5_file_are_rows(out, tmp_path, capsys):
    path = tmp_path / "exams.hdf5"
    with h5py.File(path, "w") as file:
        file["tracings"] = np.stack([ecg(seed=i) / 1000 for i in range(3)])
    assert ask(out, path, *RATE) == 0
    assert f"note: {path} holds 3 recordings; each is predicted" in capsys.readouterr().out
    expected = load_predictor("ecgnet", out).predict(np.stack([ecg(seed=i) / 1000 for i in range(3)]))
    rows = table(out)
    assert [row["record"] for row in rows] == ["exams_0", "exams_1", "exams_2"]
    for i, row in enumerate(rows):
        np.testing.assert_allclose([float(row[name]) for name in CLASSES], expected[i], atol=3e-6)
    assert ask(out, f"{path}:1", *RATE) == 0
    np.testing.assert_allclose(probabilities(prediction_of(out, "exams_1")), expected[1], atol=3e-6)


def test_batch_that_was_killed_is_resumed(out, folder):
    words = [sys.executable, "inference.py", "--dir", folder, "--output_dir", out, "--model", "ecgnet", *RATE]
    words = [*map(str, words), "--batchsize", "2", "--workers", "1"]
    journal = out / "results" / "ecgnet" / ".predictions.partial.jsonl"
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if not journal.exists():
        pytest.skip("the command was faster than the kill")
    with open(journal, "ab") as file:
        file.write(b'{"stamp": [], "row": {"record"')  # half a line
    changed = folder / "00.npy"
    np.save(changed, ecg(seed=99) / 1000)
    os.utime(changed, ns=(1, 1))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "recordings were predicted before" in done.stdout
    signals = np.stack([ecg(seed=99 if i == 0 else i) / 1000 for i in range(70)])
    expected = load_predictor("ecgnet", out).predict(signals)
    rows = table(out)
    for i, row in enumerate(rows):
        np.testing.assert_allclose([float(row[name]) for name in CLASSES], expected[i], atol=3e-6)
    assert len(rows) == 70 and not journal.exists()


def test_journal_takes_over_rows_of_the_same_settings_alone(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("x")
    row = {"record": "a", "NORM": 0.5}
    with Journal(tmp_path / "j", {"weights": "1"}) as journal:
        journal.append([(source, row), (source, {"record": "b", "error": "bad"})])
    with Journal(tmp_path / "j", {"weights": "1"}) as journal:
        assert journal.holds("a", source) and not journal.holds("b", source)  # what failed is tried again
        assert list(journal.rows(["a"])) == [row]
    content = (tmp_path / "j").read_bytes()
    for damage in (b'{"row": {"rec', b"{}\n", b"[]\n", b"\xff\n", b'{"row": {"record": []}}\n'):
        (tmp_path / "j").write_bytes(content + damage)
        with Journal(tmp_path / "j", {"weights": "1"}) as journal:
            assert list(journal.rows(["a"])) == [row]
        assert (tmp_path / "j").read_bytes() == content
    with Journal(tmp_path / "j", {"weights": "2"}) as journal:
        assert not journal.holds("a", source)


def test_names_that_are_not_utf8_reach_table_and_picture(out, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / os.fsdecode(b"M\xfcller $x_{.csv"), ecg() / 1000)
    write_csv(folder / "\u5fc3.csv", ecg() / 1000)
    words = [sys.executable, "inference.py", "--dir", folder, "--output_dir", out, "--model", "ecgnet"]
    words = [*map(str, words), "--sampling_rate", "100", "--units", "mV"]
    for encoding in ("cp1252", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(words, cwd=ROOT, capture_output=True, env=environment)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    rows = {row["record"]: row for row in table(out)}
    assert rows.keys() == {r"M\xfcller $x_{", "\u5fc3"} and not any(row["error"] for row in rows.values())
    pictures = list((out / "results" / "ecgnet").glob("*/ecg.png"))
    assert len(pictures) == 2 and min(picture.stat().st_size for picture in pictures) > 1000


def test_several_files_and_patterns_are_one_batch(out, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "=c"):
        write_csv(tmp_path / "in" / f"{name}.csv", ecg() / 1000)
    words = [tmp_path / "in" / "a.csv", tmp_path / "in" / "*.csv"]
    assert (
        call(inference.main, "inference.py", "--model", "ecgnet", "--output_dir", out, *RATE, "--dir", *words)
        == 0
    )
    assert sorted(row["record"] for row in table(out)) == ["'=c", "a", "b"]
    settings = out / "results" / "ecgnet" / "settings.yaml"
    assert call(inference.main, "inference.py", "--config", settings) == 0
    for empty in ([""], [tmp_path / "in" / "a.csv", " "]):
        with pytest.raises(SystemExit) as ended:
            call(inference.main, "inference.py", "--model", "ecgnet", "--output_dir", out, "--dir", *empty)
        assert ended.value.code == 2 and "path is empty" in capsys.readouterr().err


def test_search_skips_results_and_says_so(out, tmp_path, capsys):
    write_csv(out / "a.csv", ecg() / 1000)
    for _ in range(2):
        assert ask(out, out, *RATE) == 0
        assert [row["record"] for row in table(out)] == ["a"]
    assert "left out: folders of earlier results (1): " in capsys.readouterr().out


def test_recordings_that_are_damaged_are_rows_whatever_is_wrong(out, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_csv(tmp_path / "in" / f"{name}.csv", ecg() / 1000)

    def fail(predictor, recording, *args):
        if recording.name == "a":
            raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("explain.batch.explain_recording", fail)
    assert ask(out, tmp_path / "in", "--sampling_rate", 100, "--units", "mV") == 1
    rows = table(out)
    assert "failed unexpectedly (ZeroDivisionError: unforeseen)" in rows[0]["error"] and not rows[1]["error"]


def test_warnings_of_recordings_are_a_column(out, tmp_path):
    (tmp_path / "in").mkdir()
    write_csv(tmp_path / "in" / "large.csv", ecg() / 50)
    assert ask(out, tmp_path / "in", *RATE) == 0
    assert table(out)[0]["warnings"].startswith("WARNING: median peak-to-peak")
    notes = json.loads((out / "results" / "ecgnet" / "large" / "prediction.json").read_text())["notes"]
    assert any(note.startswith("WARNING") for note in notes)

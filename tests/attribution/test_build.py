"""From the files of public databases to windows: labels, leads, splits, beats, and damaged input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.build import build, main
from attribution.sources.options import BuildOptions, spread
from preprocessing.splits import check_patients
from preprocessing.targets.regions import beat_intervals
from preprocessing.windows import load_windows
from tests.helpers.window_files import (
    tiny_windows,
    write_annotations,
    write_beat_record,
)
from utils.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = BuildOptions(reference=True)
WINDOW = 2880  # 8 s of mitdb


@given(st.integers(1, 60), st.integers(1, 80))
def test_spread_is_even(count, limit):
    places = spread(count, limit)
    assert len(places) == min(count, limit) == len(set(places.tolist()))
    assert places[0] == 0 and (limit == 1 or places[-1] == count - 1)
    gaps = np.diff(places)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


# --- mitdb, svdb, incartdb -------------------------------------------------------------------------------


def mitdb_marks() -> list[tuple[int, str]]:
    """Window 0: N, a rhythm mark, A, N. Window 1: noise only. Window 2: V, r, A, Q. All within 24 s."""
    return [
        *[(100, "N"), (200, "+"), (1000, "A"), (2000, "N"), (WINDOW + 50, "~")],
        *[(2 * WINDOW, "V"), (2 * WINDOW + 500, "r"), (2 * WINDOW + 900, "A"), (2 * WINDOW + 1500, "Q")],
        *[(3 * WINDOW + 10, "N")],  # beyond the last whole window
    ]


def test_beats_make_labels_and_ground_truth(tmp_path):
    samples = write_beat_record(tmp_path, "101", 360, mitdb_marks(), ("V5", "MLII"), seconds=25)
    windows = build("mitdb", tmp_path)
    assert windows.classes == ["N", "SVEB", "VEB", "F"] and windows.normal == ["N"]
    assert windows.leads == ("MLII",) and windows.sampling_rate == 360 and windows.ground_truths == ("beats",)
    assert windows.labels.argmax(axis=1).tolist() == [1, 2]
    assert windows.starts.tolist() == [0, 2 * WINDOW]
    assert windows.settings["dropped"] == {"no beat": 1}
    for row, start in enumerate([0, 2 * WINDOW]):  # the lead by its name, wherever it stands
        np.testing.assert_array_equal(
            windows.signals[row][:, 0], (samples[start : start + WINDOW, 1] / 1000).astype(np.float32)
        )
    assert beat_intervals(windows, 0) == {
        "N": [(0, 550), (1500, WINDOW)],
        "SVEB": [(550, 1500)],
        "VEB": [],
        "F": [],
    }
    assert beat_intervals(windows, 1) == {
        "N": [],
        "SVEB": [(700, 1200)],
        "VEB": [(0, 250), (250, 700)],
        "F": [],
    }


def test_reference_counts_every_mark_and_takes_the_first_column(tmp_path):
    samples = write_beat_record(tmp_path, "101", 360, mitdb_marks(), ("V5", "MLII"), seconds=25)
    windows = build("mitdb", tmp_path, REFERENCE)
    assert windows.labels.argmax(axis=1).tolist() == [1, 0, 1]  # in the last one, r and Q count as N: a tie
    assert windows.settings["dropped"] == {}
    np.testing.assert_array_equal(windows.signals[0][:, 0], (samples[:WINDOW, 0] / 1000).astype(np.float32))
    assert beat_intervals(windows, 0)["N"] == [(0, 150), (150, 600), (1500, WINDOW)]
    assert beat_intervals(windows, 1)["N"] == [(0, WINDOW)]
    assert beat_intervals(windows, 2)["N"] == [(250, 700), (1200, WINDOW)]


def test_flutter_and_unclassifiable_windows_are_left_out(tmp_path):
    marks = [(10, "N"), (20, "["), (30, "!"), (40, "]"), (WINDOW + 5, "/"), (WINDOW + 9, "N")]
    marks += [(2 * WINDOW + 5, "/"), (2 * WINDOW + 9, "V")]
    write_beat_record(tmp_path, "101", 360, marks)
    windows = build("mitdb", tmp_path)
    assert windows.settings["dropped"] == {
        "most ectopic beats are paced or unclassifiable": 1,
        "ventricular flutter": 1,
    }
    assert windows.labels.argmax(axis=1).tolist() == [2]
    assert beat_intervals(windows, 0) == {
        "N": [],
        "SVEB": [],
        "VEB": [(7, WINDOW)],
        "F": [],
    }  # the paced beat owns none


def test_splits_keep_patients_together(tmp_path, caplog):
    caplog.set_level("INFO")
    for record in ("201", "202", "114", "100"):
        write_beat_record(tmp_path, record, 360, [(100, "N"), (3000, "V")])
    windows = build("mitdb", tmp_path)
    found = dict(zip(windows.records.tolist(), windows.splits.tolist(), strict=True))
    assert found == {"201": "train", "202": "train", "114": "val", "100": "test"}
    assert set(windows.patients[windows.records == "202"]) == {"201"}
    assert "4 of 44 records" in caplog.text
    windows = build("mitdb", tmp_path, REFERENCE)
    found = dict(zip(windows.records.tolist(), windows.splits.tolist(), strict=True))
    assert found == {"201": "train", "202": "test", "114": "train", "100": "test"}
    assert "(patients 201), as in the reference" in caplog.text


def test_patients_across_splits_are_refused():
    windows = tiny_windows()
    check_patients(windows)
    windows.patients[:] = "7"
    with pytest.raises(DataError, match=r"1 patients in more than one split: patient leakage \(patients 7\)"):
        check_patients(windows)


def test_record_without_the_lead_is_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    write_beat_record(tmp_path, "101", 360, [(5, "N")], ("V5", "V2"))
    write_beat_record(tmp_path, "106", 360, [(5, "N")])
    assert set(build("mitdb", tmp_path).records) == {"106"}
    assert "record 101 has no lead MLII (it has V5, V2): left out" in caplog.text
    (tmp_path / "106.hea").unlink()
    with pytest.raises(DataError, match="106"):  # its other files are there: not a partial download
        build("mitdb", tmp_path)


def test_limit_spreads_over_records(tmp_path):
    for record in ("800", "802", "805", "856", "861"):
        write_beat_record(tmp_path, record, 128, [(5, "N")], ("ECG1", "ECG2"))
    windows = build("svdb", tmp_path, BuildOptions(limit=2))
    assert sorted(set(windows.records)) == ["800", "861"]
    assert windows.samples == 1024 and windows.settings["limit"] == 2
    with pytest.raises(UsageError, match="limit must be at least 1"):
        build("svdb", tmp_path, BuildOptions(limit=0))


def test_incartdb_compares_its_patients_with_the_headers(tmp_path):
    samples = write_beat_record(tmp_path, "I05", 257, [(5, "N"), (2500, "V")], ("I", "II", "III"))
    windows = build("incartdb", tmp_path)
    assert windows.leads == ("II",) and set(windows.patients) == {"2"} and set(windows.splits) == {"val"}
    np.testing.assert_allclose(windows.signals[0][:, 0], samples[:2056, 1] / 1000, atol=1e-6)
    assert set(build("incartdb", tmp_path, REFERENCE).splits) == {"train"}
    header = tmp_path / "I05.hea"
    text = header.read_text()
    header.write_text(text + "# <age>: 65 <sex>: F <diagnoses>: none\n# patient 2\n# PVCs, noise\n")
    assert build("incartdb", tmp_path).fingerprint == windows.fingerprint
    header.write_text(text + "# patient 3\n")
    with pytest.raises(DataError, match="I05: header says patient 3, the published list of incartdb 2"):
        build("incartdb", tmp_path)


def damage(folder: Path, what: str) -> None:
    """Do something to record 106 of mitdb."""
    header, samples, marks = (folder / f"106.{suffix}" for suffix in ("hea", "dat", "atr"))
    if what == "no .atr":
        marks.unlink()
    elif what == "no .dat":
        samples.unlink()
    elif what == "short .dat":
        samples.write_bytes(samples.read_bytes()[:1000])
    elif what == "changed .dat":
        samples.write_bytes(b"\1\0\1\0" + samples.read_bytes()[4:])
    elif what == "invalid sample":
        write_beat_record(folder, "106", 360, [(5, "N")])
        content = bytearray(samples.read_bytes())
        before = int.from_bytes(content[400:402], "little", signed=True)
        content[400:402] = (-32768).to_bytes(2, "little", signed=True)
        samples.write_bytes(content)
        lines = header.read_text().splitlines()
        fields = lines[1].split()
        fields[6] = str((int(fields[6]) - before - 32768) % 65536)
        header.write_text("\n".join([lines[0], " ".join(fields), *lines[2:]]) + "\n")
    elif what == "empty .atr":
        marks.write_bytes(b"")
    elif what == "short .atr":  # between two annotations, where wfdb sees nothing wrong
        write_annotations(folder / "106", [(5, "N"), (400, "V"), (900, "N"), (5000, "V")])
        marks.write_bytes(marks.read_bytes()[:6])
    elif what == "no beat":
        write_annotations(folder / "106", [(5, "+"), (9, "~")])
    elif what == "rate":
        header.write_text(header.read_text().replace(" 360 ", " 250 ", 1))
    elif what == "unit":
        header.write_text(header.read_text().replace("/mV", "/mmHg"))
    elif what == "header":
        header.write_text("nonsense\n")
    elif what == "huge":
        header.write_text(header.read_text().replace("1000.0(0)", "0.1(0)"))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no .atr", r"106\.atr is missing"),
        ("no .dat", r"106\.dat is missing"),
        ("short .dat", r"106\.dat is truncated"),
        ("changed .dat", "checksum of lead MLII is"),
        ("invalid sample", "lead MLII has invalid"),
        ("empty .atr", r"\.atr is cut off"),
        ("short .atr", r"\.atr is cut off"),
        ("no beat", "has no beat"),
        ("rate", "header says 250 Hz, expected 360 Hz"),
        ("unit", "mmHg is not a unit of voltage"),
        ("header", "not a readable WFDB record|lists no signal"),
        ("huge", "beyond 32.767 mV"),
    ],
)
def test_record_with_an_error_is_named(what, message, tmp_path):
    for record in ("101", "106"):
        write_beat_record(tmp_path, record, 360, [(5, "N")])
    damage(tmp_path, what)
    with pytest.raises(DataError, match=f"(?s)106.*({message})"):
        build("mitdb", tmp_path)
    if what == "no beat":  # the reference takes any mark for one
        assert "106" in build("mitdb", tmp_path, REFERENCE).records
        return
    with pytest.raises(DataError, match=f"(?s)106.*({message})"):
        build("mitdb", tmp_path, REFERENCE)


def test_folders_without_a_dataset_are_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        build("mitdb", tmp_path / "none")
    for dataset, first in [("mitdb", "101.hea"), ("svdb", "800.hea"), ("incartdb", "I01.hea")]:
        with pytest.raises(DataError, match=rf"no record of {dataset} \(such as {first}\)"):
            build(dataset, tmp_path)
    with pytest.raises(DataError, match="no record of icentia11k"):
        build("icentia11k", tmp_path)
    with pytest.raises(DataError, match=r"ludb\.csv does not exist"):
        build("ludb", tmp_path)
    with pytest.raises(DataError):
        build("ptbxl", tmp_path)
    with pytest.raises(DataError, match=r"only datasets of `python -m databases\.synthetic`"):
        build("synthetic", tmp_path)
    write_beat_record(tmp_path / "mit", "101", 360, [(5, "N")])
    with pytest.raises(DataError, match=f"use {tmp_path / 'mit'}"):
        build("mitdb", tmp_path)


def test_options_that_do_not_apply(tmp_path):
    with pytest.raises(UsageError, match="unknown dataset 'mitbd': did you mean 'mitdb'"):
        build("mitbd", tmp_path)
    for dataset, option in [
        ("mitdb", {"task": "form"}),
        ("svdb", {"sampling_rate": 100}),
        ("ludb", {"partial": True}),
        ("ptbxl", {"windows_per_patient": 3}),
    ]:
        with pytest.raises(UsageError, match=f"--{next(iter(option))} does not apply to {dataset}"):
            build(dataset, tmp_path, BuildOptions(**option))
    for dataset in ("icentia11k", "synthetic", "ludb"):
        with pytest.raises(UsageError, match="reference"):
            build(dataset, tmp_path, REFERENCE)
    with pytest.raises(UsageError, match="leave out --task"):
        build("ptbxl", tmp_path, BuildOptions(reference=True, task="form"))
    with pytest.raises(UsageError, match="planted for the task superdiagnostic"):
        build("synthetic", tmp_path, BuildOptions(task="form"))


def test_mitdb_has_the_counts_of_the_reference(whole_mitdb):
    windows = build("mitdb", whole_mitdb, REFERENCE)
    counts = windows.counts()
    assert counts["train"]["records"] == counts["test"]["records"] == 4950 and len(counts) == 2
    assert beat_intervals(windows, int(np.flatnonzero(windows.records == "100")[0]))["N"][:2] == [
        (0, 47),
        (47, 223),
    ]


def test_svdb_is_built_from_real_records(shared_data):
    windows = build("svdb", shared_data / "svdb")
    assert {split: counts["patients"] for split, counts in windows.counts().items()} == {
        "train": 4,
        "val": 2,
        "test": 6,
    }
    val = windows.counts()["val"]
    assert min(val[name] for name in windows.classes) > 0


# --- the command -----------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-m", "attribution.build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_command(tmp_path):
    data = tmp_path / "svdb"
    for record in ("800", "801", "856"):
        write_beat_record(data, record, 128, [(5, "N"), (1100, "V"), (2100, "/")], ("ECG1", "ECG2"))
    result = run("--dataset", "svdb", "--data_dir", str(data), "--to", str(tmp_path / "a" / "w.npz"))
    assert result.returncode == 0, result.stderr
    windows = load_windows(tmp_path / "a" / "w.npz")
    for line in [
        "svdb: 3 of 78 records",
        "train  2 windows of 1 patients: N 1, SVEB 0, VEB 1, F 0",
        "left out: 3 windows (most ectopic beats are paced or unclassifiable)",
        f"wrote 6 windows of 8 s at 128 Hz (leads: ECG1; ground truth: beats) to {tmp_path / 'a' / 'w.npz'}",
        f"fingerprint {windows.fingerprint}",
    ]:
        assert line in result.stdout
    assert build("svdb", data).fingerprint == windows.fingerprint
    assert "overwritten" not in result.stdout
    again = run("--dataset", "svdb", "--data_dir", str(data), "--to", str(tmp_path / "a" / "w.npz"))
    assert again.returncode == 0 and "the existing file was overwritten" in again.stdout


def test_command_refuses(tmp_path, monkeypatch):
    result = run("--dataset", "mit", "--data_dir", str(tmp_path))
    assert result.returncode == 2 and "did you mean 'mitdb'" in result.stderr
    assert "Traceback" not in result.stderr
    for arguments, error, message in [
        (["--to", str(tmp_path / "w.npy")], UsageError, "must end in .npz"),
        (["--to", f"{__file__}/w.npz"], UsageError, "no file can be written there"),
        (["--limit", "-1"], UsageError, "limit must be at least 1"),
        (["--task", "form"], UsageError, "does not apply to mitdb"),
        ([], DataError, "data/mitdb is not a folder"),
    ]:
        monkeypatch.setattr(sys, "argv", ["build", "--dataset", "mitdb", *arguments])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(error, match=message):
            main()
    assert list(tmp_path.iterdir()) == []

"""Windows of icentia11k and of 12-lead records: PTB-XL, synthetic, LUDB."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.build import build, describe_counts
from attribution.sources.holter import share
from attribution.sources.ludb import CLASSES, superclasses
from attribution.sources.options import BuildOptions
from attribution.sources.whole_records import CINC_TARGETS
from databases import Database, Recording, register_database
from databases import registry as databases_registry
from databases.synthetic import load_ground_truth, write_dataset
from preprocessing import load_ptbxl, register_targets
from preprocessing.targets import Targets
from preprocessing.targets import registry as target_registry
from preprocessing.targets.regions import beat_intervals, ground_truth_mask
from preprocessing.windows import load_windows, save_windows
from tests.helpers.ptbxl_files import write_small_ptbxl
from tests.helpers.window_files import LUDB_COLUMNS, write_beat_record, write_ludb
from utils.errors import DataError, UsageError

REFERENCE = BuildOptions(reference=True)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 60))
def test_share_is_fair(available, total):
    given_places = share(available, total)
    assert sum(given_places) == min(total, sum(available))
    largest = max(given_places)
    for got, there in zip(given_places, available, strict=True):
        assert got <= there
        assert got == there or got >= largest - 1  # who gets less has no more


# --- icentia11k ------------------------------------------------------------------------------------------


def write_icentia(folder: Path) -> Path:
    """Patients p00003, p00004, p00005 with two segments of 80 s: N everywhere, a PAC, and two PVCs."""
    for patient in ("p00003", "p00004", "p00005"):
        for segment in ("s00", "s01"):
            marks = [(0, "+"), *((250 * second, "N") for second in range(1, 79))]
            marks += [(4100, "S"), (6100, "V"), (8050, "Q")]
            marks += [(10100, "V")] if segment == "s01" else []
            write_beat_record(
                folder / "p00" / patient, f"{patient}_{segment}", 250, sorted(marks), ("ECG",), seconds=80
            )
    return folder


def test_icentia(tmp_path, caplog):
    caplog.set_level("INFO")
    windows = build("icentia11k", write_icentia(tmp_path), BuildOptions(windows_per_patient=9))
    assert windows.classes == ["normal", "pac", "pvc"] and windows.samples == 2000
    assert describe_counts(windows).splitlines() == [
        f"{split:5}  9 windows of 1 patients: normal 4, pac 2, pvc 3" for split in ("train", "val", "test")
    ]
    assert windows.settings["dropped"] == {"most ectopic beats are paced or unclassifiable": 6}
    assert "3 of 11,000 patients" in caplog.text
    pvc = windows.take(windows.labels[:, 2] == 1)
    assert set(zip(pvc.records.tolist(), pvc.starts.tolist(), strict=True)) == {
        *((f"p0000{n}_{s}", 6000) for n in (3, 4, 5) for s in ("s00", "s01")),
        *((f"p0000{n}_s01", 10000) for n in (3, 4, 5)),
    }
    row = pvc.starts.tolist().index(6000)
    assert beat_intervals(pvc, row)["pvc"] == [(50, 175)]  # beats at 0 (N), 100 (V), 250 (N), ...
    assert beat_intervals(pvc, row)["normal"][:2] == [(0, 50), (175, 375)]
    ramp = (np.arange(6000, 8000) % 997 / 1000).astype(np.float32)
    np.testing.assert_array_equal(pvc.signals[row][:, 0], ramp)


def test_icentia_limit_counts_patients(tmp_path):
    windows = build("icentia11k", write_icentia(tmp_path), BuildOptions(limit=2, windows_per_patient=2))
    assert set(windows.patients) == {"p00003", "p00005"} and len(windows) == 4


# --- records of 12 leads ---------------------------------------------------------------------------------


def test_kfold_of_windows_is_that_of_the_records(tmp_path):
    folder = write_small_ptbxl(tmp_path / "ptbxl")
    how = {"split": "kfold", "folds": 4, "fold": 3}
    windows = build("ptbxl", folder, BuildOptions(limit=30, **how))
    assert windows.split_names["test"] == "fold 3 of 4" and len(windows) == 30
    dataset = load_ptbxl(folder, **how)
    split_of = dict(zip(dataset.ids.tolist(), dataset.splits.tolist(), strict=True))
    assert [split_of[int(record)] for record in windows.records] == windows.splits.tolist()
    save_windows(windows, tmp_path / "w.npz")
    again = load_windows(tmp_path / "w.npz")
    assert again.split_names == windows.split_names and again.fingerprint == windows.fingerprint
    holter = write_icentia(tmp_path / "holter")
    windows = build("icentia11k", holter, BuildOptions(windows_per_patient=2, split="kfold", folds=3))
    assert windows.split_names["train"] == "the other fold"
    assert {len(set(windows.splits[windows.patients == p])) for p in set(windows.patients)} == {1}
    with pytest.raises(UsageError, match="leave out --split kfold"):
        build("ptbxl", folder, BuildOptions(reference=True, **how))


def test_ptbxl(tmp_path):
    folder = write_small_ptbxl(tmp_path / "ptbxl")
    windows = build("ptbxl", folder)
    assert windows.classes == ["CD", "HYP", "MI", "NORM", "STTC"] and windows.multilabel
    assert windows.signals.shape == (60, 1000, 12)
    assert windows.ground_truths == () and windows.normal == ["NORM"]
    assert windows.records[:2].tolist() == ["00001", "00002"]
    assert {split: c["records"] for split, c in windows.counts().items()} == {
        "train": 48,
        "val": 6,
        "test": 6,
    }
    save_windows(windows, tmp_path / "w.npz")
    again = load_windows(tmp_path / "w.npz")
    np.testing.assert_array_equal(again.signals[7], windows.signals[7])
    few = build("ptbxl", folder, BuildOptions(limit=6, task="rhythm"))
    assert len(few) == 6 and few.classes == ["SR", "AFIB"] and set(few.splits) == {"train", "val", "test"}


def test_ptbxl_reference_targets(tmp_path):
    folder = write_small_ptbxl(tmp_path / "ptbxl", records=40, sampling_rate=500)
    with pytest.raises(DataError, match="no column heart_axis"):
        build("ptbxl", folder, REFERENCE)
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table["heart_axis"] = [("MID", "LAD", "ALAD", "RAD", "ARAD", None, "AXL")[k % 7] for k in range(40)]
    table.loc[3, "scp_codes"] = "{'LVH': 100.0}"  # with RAD
    table.loc[7, "scp_codes"] = "{'LVH': 100.0}"  # with MID: none of the 22
    table.loc[8, "scp_codes"] = "{'NORM': 100.0}"  # normal without a statement on rhythm
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    windows = build("ptbxl", folder, REFERENCE)
    assert windows.classes == list(CINC_TARGETS) and len(windows.classes) == 22
    assert windows.signals.shape == (39, 5000, 12) and windows.sampling_rate == 500
    found = {
        record: {name for name, there in zip(windows.classes, row, strict=True) if there}
        for record, row in zip(windows.records.tolist(), windows.labels.tolist(), strict=True)
    }
    assert "00008" not in found
    assert found["00001"] == {"NSR"} and found["00002"] == {"LAD", "NSR"} == found["00003"]
    assert found["00004"] == {"RAD"} and found["00005"] == {"AF", "LAnFB", "TAb", "RAD"}
    assert (
        found["00006"] == {"NSR"} and found["00007"] == {"LBBB", "NSR"} and found["00009"] == {"NSR", "LAD"}
    )


def test_synthetic_rates_are_those_written(tmp_path):
    folder = write_dataset(tmp_path / "synthetic", records=4, rates=(100,))
    with pytest.raises(DataError, match="was written without 500 Hz"):
        build("synthetic", folder, BuildOptions(sampling_rate=500))


def test_synthetic_ground_truth(tmp_path):
    folder = write_dataset(tmp_path / "synthetic", records=60, rates=(100, 500))
    windows = build("synthetic", folder)
    assert windows.ground_truths == ("planted",) and windows.multilabel
    ids, _, _ = load_ground_truth(folder)
    seen = 0
    for target, name in enumerate(windows.classes):
        mask = load_ground_truth(folder, name)[1]
        for row, record in enumerate(windows.records.tolist()):
            expected = mask[ids.tolist().index(int(record))]
            np.testing.assert_array_equal(ground_truth_mask(windows, row, target, "planted"), expected)
            seen += int(expected.any())
    assert seen > 20
    fast = build("synthetic", folder, BuildOptions(sampling_rate=500, limit=6))
    row = windows.records.tolist().index(fast.records[2])
    for target in range(5):
        np.testing.assert_array_equal(
            ground_truth_mask(fast, 2, target, "planted"),
            ground_truth_mask(windows, row, target, "planted").repeat(5, axis=0),
        )


AXIS = "Electric axis of the heart"
LUDB_ROWS = [
    f'"F\n","51\n",Sinus rhythm,{AXIS}: normal,,,,,,,',
    f"M,60,Sinus rhythm,{AXIS}: left axis deviation,,,,,,,",
    f'M,60,Sinus rhythm,{AXIS}: normal,I degree AV block,,"Left atrial hypertrophy\nother",,,,',
    f'M,60,Atrial fibrillation,{AXIS}: normal,,,,,"STEMI: apical\nIschemia: septal",,',
    f"M,60,Sinus rhythm,{AXIS}: normal,,,Left ventricular overload,,Scar formation: apical,,",
    f"M,60,Sinus rhythm,{AXIS}: vertical,,,,,Undefined ischemia/scar/supp.NSTEMI: apical,,",
    f"M,60,Sinus arrhythmia,{AXIS}: horizontal,,,,,,Non-specific repolarization abnormalities: apical,",
]
LUDB_LABELS = [{"NORM"}, set(), {"CD", "HYP"}, {"MI", "STTC"}, {"MI"}, set(), {"STTC"}]
LUDB_MARKS = [(1000, "("), (1020, "p"), (1039, ")"), (1100, "("), (1125, "N"), (1150, ")")]
LUDB_MARKS += [(1300, "t"), (1350, ")"), (4990, "("), (4995, "t"), (4999, ")")]


def test_ludb(tmp_path, caplog):
    caplog.set_level("INFO")
    windows = build("ludb", write_ludb(tmp_path / "ludb", LUDB_ROWS, LUDB_MARKS))
    assert windows.ground_truths == ("P", "QRS", "T") and windows.signals.shape == (7, 1000, 12)
    assert windows.sampling_rate == 100 and set(windows.splits) == {"test"}
    found = [{n for n, there in zip(CLASSES, row, strict=True) if there} for row in windows.labels.tolist()]
    assert found == LUDB_LABELS
    for target in range(5):
        waves = ground_truth_mask(windows, 0, target, "P")
        assert np.flatnonzero(waves[:, 0]).tolist() == list(range(200, 209))  # 1000 to 1039 at 500 Hz
        assert np.flatnonzero(waves[:, 1]).tolist() == list(range(201, 210))  # lead II, 5 samples later
        assert np.flatnonzero(ground_truth_mask(windows, 0, target, "QRS")[:, 2]).tolist() == list(
            range(220, 231)
        )
    assert np.flatnonzero(ground_truth_mask(windows, 0, 0, "T")[:, 0]).tolist() == [998, 999]
    assert windows.settings["incomplete_waves"] == 7 * 12  # a T wave without an onset
    assert "84 waves without an onset or offset are left out" in caplog.text
    steady = windows.signals[0][100:900, 0]
    np.testing.assert_allclose(steady, np.arange(100, 900) / 1000, atol=0.002)
    raw = build("ludb", tmp_path / "ludb", BuildOptions(sampling_rate=500, limit=1))
    assert raw.signals.shape == (1, 5000, 12)
    assert np.flatnonzero(ground_truth_mask(raw, 0, 0, "QRS")[:, 0]).tolist() == list(range(1100, 1151))


def test_ludb_damage(tmp_path):
    folder = write_ludb(tmp_path / "ludb", LUDB_ROWS[:2], LUDB_MARKS)
    (folder / "data" / "2.v3").unlink()
    with pytest.raises(DataError, match=r"data/2: file 2\.v3 is missing"):
        build("ludb", folder)
    header = folder / "data" / "2.hea"
    header.write_text(header.read_text().replace(" avl", " xyz"))
    with pytest.raises(DataError, match="data/2: has no lead AVL"):
        build("ludb", folder)
    header.unlink()
    assert len(build("ludb", folder)) == 1
    (folder / "ludb.csv").write_text("ID,Sex\n1,F\n")
    with pytest.raises(DataError, match="not the table of LUDB"):
        build("ludb", folder)


def test_ludb_is_built_from_real_records(shared_data):
    windows = build("ludb", shared_data / "ludb", BuildOptions(limit=5))
    table = pd.read_csv(shared_data / "ludb" / "ludb.csv", index_col="ID")
    assert list(table.columns) == LUDB_COLUMNS.split(",")[1:]
    assert superclasses(table).shape == (len(table), 5)
    for row in range(5):
        qrs, p = ground_truth_mask(windows, row, 0, "QRS"), ground_truth_mask(windows, row, 0, "P")
        assert 0.02 < qrs.mean() < 0.25 and not (qrs & p).any()
        slope = np.abs(np.diff(windows.signals[row], axis=0))
        inside = qrs[1:] & qrs[:-1]
        assert slope[inside].mean() > 2 * slope[~inside].mean()  # the steep part is where the QRS is


# --- any other database ----------------------------------------------------------------------------------


class Rows(Database):
    """Twelve records of two leads, the waveform of which tells the class."""

    name, title, license, doi = "rows", "Rows 1.0", "CC0", ""
    split_names: ClassVar = {"train": "first", "val": "middle", "test": "last"}

    def _read_records(self):
        table = pd.DataFrame({"patient": [str(k) for k in range(12)], "path": "", "sampling_rate": 50})
        splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
        return table.assign(leads=[("I", "II")] * 12, split=splits).set_axis([f"r{k}" for k in range(12)])

    def read(self, record, leads=None, start=None, stop=None):
        wave = np.sin(np.arange(100) * (1 + int(record[1:]) % 2) / 5)
        return Recording(np.stack([wave, -wave], axis=1)[start:stop].astype(np.float32), 50, ("I", "II"))


@pytest.fixture
def rows_database():
    def build_pace(database, options):
        return Targets(np.arange(12), np.eye(2, dtype=np.uint8)[np.arange(12) % 2], ["slow", "fast"])

    def build_mask(database, options):
        return Targets(np.arange(12), np.zeros((12, options.samples)), ["nothing"])

    register_database(Rows)
    register_targets("pace", kind="multiclass", build=build_pace, databases=["rows"])
    register_targets("mask", kind="segmentation", build=build_mask, databases=["rows"])
    yield
    databases_registry._DATABASES.remove("rows")
    for name in ("pace", "mask"):
        target_registry._SETS.remove(f"rows/{name}")


def test_build_takes_any_database(rows_database, tmp_path):
    windows = build("rows", tmp_path, BuildOptions(task="pace"))
    assert windows.name == "rows" and windows.classes == ["slow", "fast"] and not windows.multilabel
    assert windows.signals.shape == (12, 100, 2) and windows.leads == ("I", "II")
    assert windows.records[:2].tolist() == ["r0", "r1"] and windows.labels.argmax(axis=1)[:2].tolist() == [
        0,
        1,
    ]
    assert describe_counts(windows).splitlines()[0] == "train  6 windows of 6 patients: slow 3, fast 3"
    save_windows(windows, tmp_path / "w.npz")
    assert load_windows(tmp_path / "w.npz").fingerprint == windows.fingerprint
    assert len(build("rows", tmp_path, BuildOptions(task="pace", limit=4))) == 4


def test_build_of_any_database_needs_a_task_of_classes(rows_database, tmp_path):
    for options, message in [
        (BuildOptions(), "--task must name a target set of rows: .*pace"),
        (BuildOptions(task="mask"), "not targets of kind segmentation"),
        (BuildOptions(task="pcae"), "did you mean 'pace'"),
        (BuildOptions(task="pace", partial=True), "--partial does not apply to rows"),
        (BuildOptions(task="pace", reference=True), "--reference does not apply to rows"),
    ]:
        with pytest.raises(UsageError, match=message):
            build("rows", tmp_path, options)

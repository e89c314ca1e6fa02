"""Any registered database as a dataset: read, resampled, cached, split."""

import os

import numpy as np
import pytest

from preprocessing import fit_standardizer, load_dataset, load_ptbxl
from preprocessing.options import DatasetOptions, open_dataset
from preprocessing.summary import summarize
from tests.helpers.ptbxl_files import write_small_ptbxl
from tests.helpers.toy_database import RATE, SECONDS, ToyDatabase, forget, register, signal_of, write_toy
from utils.errors import DataError, UsageError


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes toy databases."""
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))
    register()
    yield lambda **changes: write_toy(tmp_path / "toy", **changes)
    forget()


def test_dataset_of_any_database_comes_from_the_cache(toy):
    folder = toy()
    first = load_dataset("toy", folder, "speed")
    assert first.signals.shape == (24, SECONDS * RATE, 2) and first.sampling_rate == RATE
    assert (first.name, first.kind, first.leads, first.version) == (
        "toy",
        "multiclass",
        ("I", "II"),
        "A toy database",
    )
    assert first.ids[:2].tolist() == ["r000", "r001"] and first.patients[:2].tolist() == ["p00", "p00"]
    assert first.split_names == {"train": "most", "val": "some", "test": "few"}
    assert {name: numbers["records"] for name, numbers in first.counts().items()} == {
        "train": 12,
        "val": 6,
        "test": 6,
    }
    for row in (0, 5):
        np.testing.assert_allclose(first.signals[row], signal_of(row, RATE, SECONDS, 2, 1.0), atol=5e-4)
    reads = ToyDatabase.reads
    again = load_dataset("toy", folder, "odd")
    assert ToyDatabase.reads == reads and again.targets.shape == (12, SECONDS * RATE)
    np.testing.assert_array_equal(again.signals[:], first.signals[::2])
    os.utime(folder / "r003.toy", (1, 1))
    assert load_dataset("toy", folder, "speed").fingerprint == first.fingerprint
    assert ToyDatabase.reads > reads


def test_signals_are_resampled_cropped_and_padded(toy, caplog):
    caplog.set_level("INFO")
    folder = toy(seconds=(4, 3, 5))
    with pytest.raises(
        DataError, match=r"(?s)16 of 24 records .*r001: 3 s, the first .* 4 s: choose --seconds"
    ):
        load_dataset("toy", folder, "speed")
    dataset = load_dataset("toy", folder, "speed", 100, seconds=4)
    assert dataset.signals.shape == (24, 400, 2) and dataset.sampling_rate == 100
    np.testing.assert_allclose(dataset.signals[2][20:380], signal_of(2, 100, 4, 2, 1.0)[20:380], atol=0.01)
    assert (dataset.signals[1][300:] == 0).all() and not (dataset.signals[1][:300] == 0).all()
    assert "8 of 24 recordings are shorter than 4 s: zeros follow" in caplog.text
    assert load_dataset("toy", folder, "speed", 100, seconds=2).signals.shape == (24, 200, 2)


def test_leads_are_the_common_ones_or_those_asked_for(toy):
    folder = toy(leads=(("I", "II", "V1"), ("V1", "II")))
    assert load_dataset("toy", folder, "speed").leads == ("II", "V1")
    assert load_dataset("toy", folder, "speed", leads=["V1"]).signals.shape == (24, SECONDS * RATE, 1)
    with pytest.raises(UsageError, match="not every record has lead I; common: II, V1"):
        load_dataset("toy", folder, "speed", leads=["I"])


def test_recordings_beyond_int16_are_stored_as_float32(toy):
    folder = toy(largest=40.0)
    dataset = load_dataset("toy", folder, "speed")
    expected = np.stack([signal_of(row, RATE, SECONDS, 2, 40.0) for row in range(24)])
    np.testing.assert_array_equal(dataset.signals[:], expected)
    reads = ToyDatabase.reads
    scale = fit_standardizer(load_dataset("toy", folder, "speed").split("train"))
    assert ToyDatabase.reads == reads
    train = expected[dataset.splits == "train"].astype(np.float64)
    assert scale.mean == pytest.approx(train.mean(), abs=1e-9)
    assert scale.std == pytest.approx(train.std(), rel=1e-12)


@pytest.mark.parametrize("largest", [1.0, 40.0])
def test_records_without_files_are_read_into_memory(toy, tmp_path, monkeypatch, largest):
    """Nothing would tell whether a cache of them is out of date."""
    folder = toy(largest=largest)
    cached = load_dataset("toy", folder, "speed")
    table_of = ToyDatabase._read_records
    monkeypatch.setattr(ToyDatabase, "_read_records", lambda self: table_of(self).assign(path="nowhere"))
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "other"))
    dataset = load_dataset("toy", folder, "speed")
    np.testing.assert_array_equal(dataset.signals[:], cached.signals[:])
    assert dataset.fingerprint == cached.fingerprint
    assert not list(tmp_path.glob("other/**/*.npy"))


def test_kfold_serves_a_database_without_splits(toy):
    folder = toy(split=False)
    with pytest.raises(
        UsageError, match="toy has no official splits for all of its records: use --split kfold"
    ):
        load_dataset("toy", folder, "speed")
    tested = []
    for fold in (1, 2, 3):
        dataset = load_dataset("toy", folder, "speed", split="kfold", folds=3, fold=fold)
        assert dataset.split_names["test"] == f"fold {fold} of 3"
        tested += dataset.split("test").ids.tolist()
    assert sorted(tested) == dataset.ids.tolist()
    with pytest.raises(UsageError, match="12 patients cannot be divided into 13 folds"):
        load_dataset("toy", folder, "speed", split="kfold", folds=13)
    with pytest.raises(UsageError, match="split 'kfolds': did you mean 'kfold'"):
        load_dataset("toy", folder, "speed", split="kfolds")


def test_load_names_bad_input(toy):
    folder = toy()
    with pytest.raises(UsageError, match="unknown database 'tyo': did you mean 'toy'"):
        load_dataset("tyo", folder, "speed")
    with pytest.raises(UsageError, match="unknown task 'sped' of toy: did you mean 'speed'"):
        load_dataset("toy", folder, "sped")
    with pytest.raises(UsageError, match="unknown task 'superdiagnostic' of toy"):
        load_dataset("toy", folder, "superdiagnostic")
    (folder / "r004.toy").write_text("250;damaged;I II;1;True")
    with pytest.raises(
        DataError, match=r"(?s)1 of 24 records in .* cannot be used:.*r004: record r004 is damaged"
    ):
        load_dataset("toy", folder, "speed")
    with pytest.raises(DataError, match="has no record of toy"):
        empty = folder / "empty"
        empty.mkdir()
        load_dataset("toy", empty, "speed")


def test_options_name_a_dataset_and_summary_describes_it(toy, tmp_path):
    folder = toy(split=False)
    options = DatasetOptions(
        database="toy", data_dir=str(folder), task="speed", sampling_rate=0, split="kfold", folds=3
    )
    text = summarize(open_dataset(options.to_json()))
    assert "task speed: 24 records of 1000 samples x 2 leads at 250 Hz, release: A toy database" in text
    assert "train: the other fold; val: fold 2 of 3; test: fold 1 of 3" in text
    patients = next(line.split()[1:] for line in text.splitlines() if line.startswith("patients"))
    assert sum(map(int, patients)) == 12 and len(patients) == 3


def test_settings_of_older_runs_keep_what_they_meant(tmp_path):
    """Before `keep_unlabeled`, form kept every record and superdiagnostic did not."""
    folder = write_small_ptbxl(tmp_path / "ptb", records=40)
    for task, keep in (("form", True), ("superdiagnostic", False)):
        before = open_dataset({"data_dir": str(folder), "task": task})
        now = load_ptbxl(folder, task, keep_unlabeled=keep)
        assert before.fingerprint == now.fingerprint
    assert (
        len(load_ptbxl(folder, "form")) < 40 == len(open_dataset({"data_dir": str(folder), "task": "form"}))
    )


def test_ptbxl_takes_the_same_way_by_every_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))
    folder = write_small_ptbxl(tmp_path / "ptb", records=40)
    fast = load_dataset("ptbxl", folder, "superdiagnostic")
    assert fast.fingerprint == load_ptbxl(folder).fingerprint and fast.split_names["test"] == "fold 10"
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1
    general = load_dataset("ptbxl", folder, "superdiagnostic", seconds=10)
    np.testing.assert_array_equal(general.signals[:], fast.signals[:])
    np.testing.assert_array_equal(general.targets, fast.targets)
    half = load_dataset("ptbxl", folder, "superdiagnostic", 50, seconds=5, leads=["II"])
    assert half.signals.shape == (40, 250, 1)
    with pytest.raises(UsageError, match="100 and 500 Hz, not at 250 Hz"):
        load_dataset("ptbxl", folder, "superdiagnostic", 250)


def test_ptbxl_of_another_length_is_read_at_the_rate_that_needs_no_upsampling(tmp_path, monkeypatch, caplog):
    """Crops of PTB-XL go through the way of any database, which knew the files at 100 Hz alone."""
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))
    caplog.set_level("INFO")
    slow = write_small_ptbxl(tmp_path / "slow")
    dataset = load_dataset("ptbxl", slow, "superdiagnostic", 250, seconds=4)
    assert dataset.signals.shape[1] == 1000
    assert "at 500 Hz are not in" in caplog.text
    assert "60 of 60 recordings of ptbxl are slower than 250 Hz: there is nothing above" in caplog.text
    caplog.clear()
    fast = write_small_ptbxl(tmp_path / "fast", sampling_rate=500)
    dataset = load_dataset("ptbxl", fast, "superdiagnostic", 250, seconds=4)
    assert dataset.signals.shape[1] == 1000 and "resampled from 500 Hz to 250 Hz" in caplog.text
    assert "slower" not in caplog.text


def test_records_that_cannot_be_read_are_left_out_on_request(toy, caplog):
    folder = toy()
    whole = load_dataset("toy", folder, "speed")
    (folder / "r004.toy").write_text("250;damaged;I II;1;True")
    for _ in range(2):  # read, and from the cache
        dataset = load_dataset("toy", folder, "speed", seconds=SECONDS, on_missing="drop")
        kept = np.arange(24) != 4
        np.testing.assert_array_equal(dataset.signals[:], whole.signals[:][kept])
        np.testing.assert_array_equal(dataset.targets, whole.targets[kept])
        assert dataset.ids.tolist() == whole.ids[kept].tolist()
    assert "1 of 24 records in" in caplog.text and "r004: record r004 is damaged" in caplog.text
    with pytest.raises(DataError, match="1 of 24 records"):
        load_dataset("toy", folder, "speed", seconds=SECONDS)

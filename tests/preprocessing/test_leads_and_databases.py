"""Leads of a dataset, R-peaks lead by lead, datasets of several databases, and bursts of noise."""

import shutil

import numpy as np
import pandas as pd
import pytest

import twelvelead as tl
from databases import open_database
from preprocessing import load_dataset
from preprocessing.combined import combine
from preprocessing.options import DatasetOptions, open_dataset
from preprocessing.reading import common_leads
from preprocessing.targets import IGNORED
from preprocessing.transforms.augmentation import Augmentation
from training.tasks.boundary_scores import peaks_of_mask
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path_factory.getbasetemp() / "leads_cache"))


@pytest.fixture(scope="module")
def folders(shared_data):
    return {name: shared_data / name for name in ("mitdb", "ludb")}


def test_rpeaks_by_lead_are_those_of_the_annotations(folders):
    dataset = load_dataset("mitdb", folders["mitdb"], "qrs_by_lead")
    assert dataset.kind == "rpeaks" and dataset.leads == ("ECG",) and dataset.sampling_rate == 100
    assert dataset.signals.shape == (4 * 2 * 181, 1000, 1) and dataset.targets.shape == (4 * 2 * 181, 1000, 1)
    assert {name: counts["patients"] for name, counts in dataset.counts().items()} == {
        **{"train": 1, "val": 1, "test": 2}
    }
    database = open_database("mitdb", folders["mitdb"])
    rows = np.flatnonzero(dataset.ids == "100")
    beats = database.annotations("100").beats.samples * 100 / 360
    expected = np.rint(beats[(beats > 3006) & (beats < 3994)] - 3000)
    signal = database.read("100").signal
    for row, lead in zip(rows[[3, 181 + 3]].tolist(), (0, 1), strict=True):  # both have the same beats
        np.testing.assert_allclose(peaks_of_mask(dataset.targets[row, :, 0]), expected, atol=1)
        assert dataset.starts[row] == 3000 and dataset.targets[row].min() == 0
        part = signal[10_800:14_400, lead]
        assert abs(float(dataset.signals[row].mean() - part.mean())) < 0.01


def test_rpeaks_of_a_lead_of_ludb_are_ignored_outside_of_its_marks(folders):
    dataset = load_dataset("ludb", folders["ludb"], "qrs_by_lead")
    waves = open_database("ludb", folders["ludb"]).annotations("7").waves
    row = np.flatnonzero(dataset.ids == "7")[1]  # lead II
    peaks = np.sort(waves.peak[(waves.kind == "QRS") & (waves.lead == "II")]) / 5
    mask = dataset.targets[row, :, 0]
    np.testing.assert_allclose(peaks_of_mask(mask), peaks, atol=0.5)
    assert (mask[: int(peaks[0]) - 21] == IGNORED).all() and (mask[int(peaks[-1]) + 22 :] == IGNORED).all()


def test_datasets_of_two_databases_are_combined(folders):
    settings = DatasetOptions(
        database="mitdb", data_dir=str(folders["mitdb"]), also=[f"ludb={folders['ludb']}"], task="qrs_by_lead"
    ).to_json()
    dataset = open_dataset(settings)
    parts = [load_dataset(name, folder, "qrs_by_lead") for name, folder in folders.items()]
    assert len(dataset) == sum(map(len, parts)) and dataset.name == "mitdb+ludb"
    last = parts[1].take(np.arange(len(parts[1])))
    np.testing.assert_array_equal(dataset.signals[-1], last.signals[-1])
    np.testing.assert_array_equal(dataset.targets[-1], last.targets[-1])
    assert dataset.patients[0].startswith("mitdb/") and dataset.ids[-1].startswith("ludb/")
    assert dataset.split_names["val"] == "4 patients of DS1 of mitdb and records 61-70 of ludb"
    assert dataset.beats.window.max() == len(dataset) - 1 and len(set(dataset.fingerprint)) > 1
    with pytest.raises(UsageError, match="cannot be one dataset: task is qrs_by_lead and waves_by_lead"):
        combine([parts[1], load_dataset("ludb", folders["ludb"], "waves_by_lead", 100)])
    with pytest.raises(UsageError, match="--also lutb=x: unknown database 'lutb': did you mean 'ludb'"):
        open_dataset({**settings, "also": ["lutb=x"]})


def test_bursts_change_stretches_alone_and_follow_the_seed():
    signals = np.random.default_rng(0).normal(size=(8, 500, 2)).astype(np.float32)
    labels = np.zeros((8, 500, 1), np.float32)
    augmentation = Augmentation(augment=("bursts:prob=1:seconds=[0.5,1]",))

    def augmented(seed):
        return augmentation(signals, labels, np.random.default_rng(seed), True, 100)[0]

    changed = augmented(1) != signals
    assert changed.any(axis=1).all() and changed.sum(axis=1).min() >= 50 and changed.sum(axis=1).max() <= 200
    np.testing.assert_array_equal(augmented(1), augmented(1))
    assert (augmented(1) != augmented(2)).any()
    with pytest.raises(UsageError):
        Augmentation(augment=("bursts:prob=2",)).steps  # noqa: B018


def table_of(*leads):
    return pd.DataFrame({"leads": [tuple(row) for row in leads]}, index=[f"r{n}" for n in range(len(leads))])


def test_leads_are_the_standard_ones_those_of_all_records_or_refused():
    written = [lead.replace("AV", "aV") for lead in LEADS]
    assert common_leads(table_of(LEADS, written[::-1], LEADS[:8]), None) == LEADS  # most have them
    assert common_leads(table_of(LEADS, LEADS[:8]), None) == LEADS[:8]
    assert common_leads(table_of(["MLII", "V1"], ["V5", "MLII"]), None) == ("MLII",)
    with pytest.raises(UsageError, match=r"MLII is in 2 of 3, but not in r1; move the records without it"):
        common_leads(table_of(["MLII", "V1"], ["V5"], ["MLII", "V5"]), None)
    with pytest.raises(UsageError, match=r"not every record has lead V1; common: MLII"):
        common_leads(table_of(["MLII", "V1"], ["MLII"]), ["V1"])


def test_record_without_a_lead_is_refused_or_left_out(shared_data, tmp_path, caplog):
    for file in (shared_data / "cinc2021").glob("E0750*"):
        shutil.copy(file, tmp_path)
    header = tmp_path / "E07500.hea"
    header.write_text(header.read_text().replace("aVR", "X1"))
    with pytest.raises(DataError, match=r"E07500: .*has no lead AVR"):
        load_dataset("cinc2021", tmp_path, "classes")
    dataset = load_dataset("cinc2021", tmp_path, "classes", on_missing="drop")
    assert dataset.leads == LEADS and len(dataset) and "E07500" not in dataset.ids
    assert "has no lead AVR" in caplog.text


def test_public_loader_names_the_nearest_option(tmp_path):
    with pytest.raises(UsageError, match="load_dataset: unknown option 'second': did you mean 'seconds'"):
        tl.load_dataset("mitdb", tmp_path, "beats", second=5)

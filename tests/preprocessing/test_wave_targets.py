"""R-peaks and waves as targets, on real records."""

import shutil

import numpy as np
import pytest

from databases import Waves, open_database
from preprocessing import load_dataset
from preprocessing.targets import IGNORED
from preprocessing.targets.rpeaks import flutter_gaps
from preprocessing.targets.waves import lead_mask, ludb_splits, merge, merged_peaks
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


@pytest.fixture(scope="module")
def few_of_ludb(shared_data, tmp_path_factory):
    """Records of LUDB's three splits."""
    folder = tmp_path_factory.mktemp("ludb")
    (folder / "data").mkdir()
    shutil.copy(shared_data / "ludb" / "ludb.csv", folder)
    for record in (1, 61, 71, 72):
        for file in (shared_data / "ludb" / "data").glob(f"{record}.*"):
            shutil.copy(file, folder / "data")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))


def test_r_peaks_of_cpsc2019_are_marked_and_its_ends_ignored(shared_data):
    folder = shared_data / "cpsc2019"
    dataset = load_dataset("cpsc2019", folder, "qrs_detection")
    database = open_database("cpsc2019", folder)
    assert dataset.kind == "rpeaks" and dataset.targets.shape == (50, 5000, 1)
    assert (dataset.targets.dtype, dataset.classes, dataset.sampling_rate) == (np.int8, ["R-peak"], 500)
    for row in (0, 17):
        peaks = database.annotations(dataset.ids[row]).beats.samples
        distance = np.abs(np.subtract.outer(np.arange(5000), peaks)).min(axis=1)
        mask = dataset.targets[row, :, 0]
        np.testing.assert_array_equal(mask == 1, distance <= 37)
        assert (mask[:250] != 0).all() and (mask[-250:] != 0).all() and (mask[250:-250] != IGNORED).all()
        np.testing.assert_array_equal(dataset.beats.sample[dataset.beats.window == row], peaks)
    again = load_dataset("cpsc2019", folder, "qrs_detection")
    assert again.fingerprint == dataset.fingerprint
    assert {name: numbers["patients"] for name, numbers in dataset.counts().items()} == {
        "train": 40,
        "val": 5,
        "test": 5,
    }
    options = {"reduction": 8, "tolerance": 0.05}
    thin = load_dataset("cpsc2019", folder, "qrs_detection", 100, target_options=options)
    assert thin.targets.shape == (50, 125, 1) and thin.signals.shape == (50, 1000, 1)
    with pytest.raises(UsageError, match=r"task qrs_detection has no option 'tolerence' .* 'tolerance'"):
        load_dataset("cpsc2019", folder, "qrs_detection", target_options={"tolerence": 0.05})
    with pytest.raises(UsageError, match=r"'reduction' of task qrs_detection .* is 1.5; its default is 1"):
        load_dataset("cpsc2019", folder, "qrs_detection", target_options={"reduction": 1.5})


def test_reference_that_is_absent_is_named(shared_data, tmp_path):
    (tmp_path / "data").mkdir()
    for file in sorted((shared_data / "cpsc2019" / "data").glob("*.mat"))[:3]:
        shutil.copy(file, tmp_path / "data")
    with pytest.raises(DataError, match=r"(?s)R-peaks of 3 of 3 records .*ref/R_\d+.mat does not exist"):
        load_dataset("cpsc2019", tmp_path, "qrs_detection")


def test_holter_windows_cover_records_and_ignore_flutter(shared_data):
    dataset = load_dataset("mitdb", shared_data / "mitdb", "qrs_detection", split="kfold", folds=3)
    database = open_database("mitdb", shared_data / "mitdb")
    assert dataset.signals.shape == (61 * len(database.records), 10800, 1) and dataset.leads == ("MLII",)
    assert len(dataset) == len(dataset.signals) == len(dataset.targets)
    record = database.records.index[0]
    rows = np.flatnonzero(dataset.ids == record)
    signal = database.read(record, ["MLII"]).signal
    assert dataset.starts[rows].tolist() == list(range(0, 650_000, 10_800))
    np.testing.assert_allclose(dataset.signals[rows[3]], signal[32_400:43_200], atol=5e-4)
    last = dataset.signals[rows[-1]]
    assert (last[2000:] == 0).all() and (dataset.targets[rows[-1], 2000:] == IGNORED).all()
    beats = sum(len(database.annotations(name).beats.samples) for name in database.records.index)
    assert len(dataset.beats.sample) == beats


def test_stretch_of_flutter_is_found(whole_mitdb):
    annotations = open_database("mitdb", whole_mitdb).annotations("207")
    gaps = flutter_gaps(annotations, 650_000)
    assert len(gaps) == 6 and sum(last - first for first, last in gaps) == pytest.approx(360 * 143, rel=0.05)
    for first, last in gaps:
        assert not ((annotations.beats.samples > first) & (annotations.beats.samples < last - 1)).any()


def test_waves_of_ludb_are_known_where_leads_are_annotated(few_of_ludb):
    by_lead = load_dataset("ludb", few_of_ludb, "waves_by_lead")
    merged = load_dataset("ludb", few_of_ludb, "waves")
    database = open_database("ludb", few_of_ludb)
    assert by_lead.kind == merged.kind == "waves" and by_lead.classes == [
        "background",
        "P",
        "QRS",
        "T",
    ]
    assert by_lead.signals.shape == (48, 5000, 1) and by_lead.leads == ("ECG",)
    assert merged.signals.shape == (4, 5000, 12) and merged.splits.tolist() == [
        "train",
        "val",
        "test",
        "test",
    ]
    whole = database.read("61").signal
    waves = database.annotations("61").waves
    for column, lead in enumerate(LEADS):
        row = 12 + column
        np.testing.assert_allclose(by_lead.signals[row][:, 0], whole[:, column], atol=5e-4)
        own = waves.lead == lead
        mask = by_lead.targets[row]
        for onset, offset, kind in zip(waves.onset[own], waves.offset[own], waves.kind[own], strict=True):
            if onset >= 0 and offset >= 0:
                assert (mask[onset : offset + 1] == by_lead.classes.index(kind)).all()
        marks = np.concatenate([waves.onset[own], waves.peak[own], waves.offset[own]])
        first, last = marks[marks >= 0].min(), marks.max()
        assert (mask[:first] == IGNORED).all() and (mask[last + 1 :] == IGNORED).all()
        assert (mask[first : last + 1] != IGNORED).mean() > 0.95
    resampled = load_dataset("ludb", few_of_ludb, "waves", 100)
    assert resampled.targets.shape == (4, 1000)
    assert (resampled.targets == merged.targets[:, ::5]).mean() > 0.975


def waves_of(*rows):
    onset, peak, offset, kind, lead = zip(*rows, strict=True)
    return Waves(*(np.array(column) for column in (onset, peak, offset)), np.array(kind), np.array(lead))


def test_boundary_that_is_not_marked_leaves_its_side_unknown():
    waves = waves_of(
        (20, 30, 40, "P", "I"), (-1, 60, 70, "QRS", "I"), (100, 120, -1, "T", "I"), (180, 190, 200, "P", "I")
    )
    mask = lead_mask(waves, 300, 500, 500)
    assert (mask[:20] == IGNORED).all() and (mask[20:41] == 1).all() and (mask[41:60] == IGNORED).all()
    assert (mask[60:71] == 2).all() and (mask[71:100] == 0).all() and (mask[100:121] == 3).all()
    assert (mask[121:180] == IGNORED).all() and (mask[180:201] == 1).all() and (mask[201:] == IGNORED).all()
    assert (lead_mask(waves_of((1, 2, 3, "P", "I"))._replace(peak=np.empty(0)), 9, 500, 500) == IGNORED).all()


def test_leads_are_merged_by_their_majority():
    masks = np.array([[1, 1, 2, -1, -1, 0], [1, 0, 2, 3, -1, 3], [0, 0, 2, 3, -1, 3], [0, -1, 3, -1, 2, -1]])
    assert merge(masks).tolist() == [0, 0, 2, 3, IGNORED, 3]
    waves = waves_of(
        *((0, 100 + lead, 0, "QRS", name) for lead, name in enumerate(LEADS)), (0, 400, 0, "QRS", "I")
    )
    assert merged_peaks(waves, 100).tolist() == [105]
    assert ludb_splits(["1", "60", "61", "70", "71", "100", "101", "200"]).tolist() == [
        *("train", "train", "val", "val", "test", "test", "train", "train"),
    ]

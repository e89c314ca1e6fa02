"""Heartbeats, rhythms, RR intervals and labels of challenges as targets."""

import shutil

import numpy as np
import pytest
import scipy.io

from databases import Annotations, Marks, Rhythms, open_database
from databases.snomed import SCORED, scored_classes
from preprocessing import list_targets, load_dataset
from preprocessing.targets import IGNORED, TargetOptions
from preprocessing.targets.registry import find_targets
from preprocessing.targets.rhythms import RHYTHMS, overlapping_starts, rr_sequences
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))


def test_databases_have_the_target_sets_of_the_challenges():
    assert list_targets("mitdb") == [
        *(
            "af_event",
            "beat_classification",
            "beats",
            "qrs_by_lead",
            "qrs_detection",
            "rhythm_segmentation",
            "rr_lstm",
        ),
    ]
    assert list_targets("cpsc2021") == ["main", "qrs_detection", "rr_lstm"]
    assert list_targets("ludb") == ["qrs_by_lead", "qrs_detection", "waves", "waves_by_lead"]
    for name in ("cinc2017", "cpsc2018"):
        assert list_targets(name) == ["classes"]
    for name in ("cinc2020", "cinc2021"):
        assert list_targets(name) == ["classes", "slices"]


def test_beats_of_mitdb_have_the_published_numbers(whole_mitdb):
    """De Chazal et al. (2004), doi:10.1109/TBME.2004.827359, table IV; here 202 is with 201."""
    dataset = load_dataset("mitdb", whole_mitdb, "beat_classification")
    of_202 = {"N": 2061, "SVEB": 55, "VEB": 19, "F": 1}
    published = {"N": 44_259, "SVEB": 1_837, "VEB": 3_221, "F": 388}
    counts = dataset.counts()
    assert {name: counts["test"][name] + of_202[name] for name in published} == published
    train = {name: counts["train"][name] + counts["val"][name] - of_202[name] for name in published}
    assert train == {"N": 45_866, "SVEB": 944, "VEB": 3_788, "F": 415}
    assert (dataset.kind, dataset.signals.shape[1:]) == ("multiclass", (720, 1))
    patients = [set(dataset.patients[dataset.splits == split]) for split in ("train", "val", "test")]
    assert not set.intersection(*patients) and "201" in patients[0] and "202" not in dataset.patients
    database = open_database("mitdb", whole_mitdb)
    beats = database.annotations("119").beats
    row = np.flatnonzero(dataset.ids == "119")[10]
    start = beats.samples[10] - 288
    assert dataset.starts[row] == start
    signal = database.read("119", ["MLII"], start, start + 720).signal
    np.testing.assert_allclose(dataset.signals[row], signal, atol=5e-4)
    again = load_dataset("mitdb", whole_mitdb, "beat_classification")
    assert again.fingerprint == dataset.fingerprint


def test_beats_along_time_are_those_of_the_annotation(shared_data):
    """One sample a beat, and all others ignored; with a tolerance 2 N + 1 samples."""
    database = open_database("mitdb", shared_data / "mitdb")
    target_set = find_targets("beats", "mitdb")
    one = target_set.build(database, TargetOptions(100, 3000, settings=target_set.settle({})))
    near = target_set.build(database, TargetOptions(100, 3000, settings={"tolerance": 0.02}))
    for row, record in enumerate(database.records.index):
        beats = database.annotations(record).beats
        known = np.isin(beats.symbols, list("NLRBejnAaJSVErF"))
        line = one.values[one.rows == row].reshape(-1)
        places = np.rint(beats.samples / 3.6).astype(int)
        np.testing.assert_array_equal(np.flatnonzero(line != IGNORED), places[known])
        for kinds, number in (("NLRBejn", 0), ("AaJS", 1), ("VEr", 2), ("F", 3)):
            assert (line == number).sum() == np.isin(beats.symbols, list(kinds)).sum(), (record, kinds)
        wide = near.values[near.rows == row].reshape(-1)
        np.testing.assert_array_equal(wide[places[known][1:-1] + 2], line[places[known][1:-1]])
        assert (wide[places[known][1:-1] + 3] == IGNORED).all()


def test_rhythms_of_mitdb_are_ignored_before_the_first(shared_data):
    folder = shared_data / "mitdb"
    dataset = load_dataset("mitdb", folder, "rhythm_segmentation", split="kfold", folds=3)
    database = open_database("mitdb", folder)
    assert dataset.kind == "segmentation" and dataset.classes == list(RHYTHMS)
    record = database.records.index[1]
    rhythms = database.annotations(record).rhythms
    line = dataset.targets[dataset.ids == record].reshape(-1)
    assert (line[: rhythms.start[0]] == IGNORED).all() and (line[650_000:] == IGNORED).all()
    for start, end, name in zip(*rhythms, strict=True):
        assert (line[start:end] == RHYTHMS.index(name)).all()


def test_fibrillation_of_cpsc2021_has_weights_and_only_training_overlaps(shared_data):
    folder = shared_data / "cpsc2021"
    dataset = load_dataset("cpsc2021", folder, "main")
    database = open_database("cpsc2021", folder)
    assert dataset.kind == "tagging" and dataset.targets.shape[1:] == (750, 2) and dataset.classes == ["AF"]
    assert load_dataset("cpsc2021", folder, "af_event").fingerprint == dataset.fingerprint
    by_split = {split: set(dataset.patients[dataset.splits == split]) for split in ("train", "val", "test")}
    assert sum(map(len, by_split.values())) == len(set(database.records["patient"]))
    for record in database.records.index:
        rows = np.flatnonzero(dataset.ids == record)
        starts, training = dataset.starts[rows], dataset.splits[rows[0]] == "train"
        hops = np.diff(starts)
        assert set(hops[:-1]) <= ({1000, 2000, 3000} if training else {6000}), record
        mask = np.zeros(int(starts[-1]) + 6000, bool)
        for start, end, name in zip(*database.annotations(record).rhythms, strict=True):
            mask[start:end] |= name in ("AFIB", "AFL")
        for row, start in zip(rows, starts, strict=True):
            np.testing.assert_array_equal(dataset.targets[row, :, 0] == 1, mask[start + 4 : start + 6000 : 8])
            inside = start + np.arange(4, 6000, 8) < database.samples(record)
            assert ((dataset.targets[row, :, 1] > 0) == inside).all()
    assert dataset.targets[..., 1].max() > 6
    kfold = load_dataset("cpsc2021", folder, "main", split="kfold", folds=3, fold=2)
    for record in set(kfold.ids[kfold.splits != "train"]):
        assert set(np.diff(kfold.starts[kfold.ids == record])) <= {6000}
    with pytest.raises(UsageError, match="'overlap' is 30 s, as long as the windows or longer"):
        load_dataset("cpsc2021", folder, "main", target_options={"overlap": 30.0})
    with pytest.raises(UsageError, match="6 patients cannot be divided into 7 folds"):
        load_dataset("cpsc2021", folder, "main", split="kfold", folds=7)


def test_windows_are_denser_around_borders():
    mask = np.zeros(1000, np.int8)
    mask[500:] = 1
    starts, overlapping = overlapping_starts(mask, 100, 50, 10)
    assert starts[~overlapping].tolist() == list(range(0, 1000, 100))
    dense = [start for start in starts.tolist() if start % 50]
    assert dense and all(start < 500 < start + 100 for start in dense)
    starts, overlapping = overlapping_starts(mask, 100, 100, 100)
    assert not overlapping.any() and len(starts) == 10


def test_rr_intervals_come_in_sequences_without_flutter():
    beats = np.arange(0, 65 * 200, 200)
    symbols = np.full(65, "N")
    marks = Marks(
        np.sort(np.concatenate([beats, [8_050, 8_950]])), np.insert(symbols, [41, 45], ["[", "]"]).astype(str)
    )
    keep = (marks.samples <= 8_050) | (marks.samples >= 8_950)  # beats in flutter are not marked
    rhythms = Rhythms(np.array([4_000]), np.array([6_000]), np.array(["AFIB"]))
    found = Annotations(Marks(marks.samples[keep], marks.symbols[keep]), rhythms=rhythms)
    sequences = rr_sequences(found, 13_000, 200, 30, 15)
    assert [(first, len(intervals), again) for first, intervals, _, again in sequences] == [
        (0, 30, False), (6_000, 10, False), (9_000, 19, False),
    ]  # fmt: skip
    assert all((intervals == 1).all() for _, intervals, _, _ in sequences)
    labels = sequences[0][2]
    assert np.flatnonzero(labels).tolist() == list(range(19, 29))  # beats at 4000 to 5800
    short = Annotations(Marks(np.array([5]), np.array(["N"])))
    assert rr_sequences(short, 100, 200, 30, 15) == [] == rr_sequences(Annotations(), 100, 200, 30, 15)


def test_rr_intervals_of_cpsc2021_are_seconds_with_labels(shared_data):
    dataset = load_dataset("cpsc2021", shared_data / "cpsc2021", "rr_lstm")
    assert dataset.kind == "rr" and dataset.leads == ("RR",) and dataset.signals.shape[1:] == (30, 1)
    intervals, known = dataset.signals[:][..., 0], dataset.targets != IGNORED
    assert (intervals[~known] == 0).all() and (intervals[known] > 0.15).all()
    assert 0.5 < np.median(intervals[known]) < 1.2 and dataset.classes == ["none", "AF"]
    persistent = np.isin(dataset.ids, ["data_8_2", "data_84_1"])
    assert (dataset.targets[persistent] == 1).sum() > 0.99 * known[persistent].sum()
    with pytest.raises(UsageError, match="'overlap' is 30: choose 0 to 29 intervals"):
        load_dataset("cpsc2021", shared_data / "cpsc2021", "rr_lstm", target_options={"overlap": 30})


def test_labels_of_cinc2017_are_stratified(shared_data, caplog):
    caplog.set_level("INFO")
    dataset = load_dataset("cinc2017", shared_data / "cinc2017", "classes")
    assert dataset.signals.shape == (200, 9000, 1) and dataset.kind == "multiclass"
    assert {name: dataset.counts()["test"][name] for name in "NAO~"} == dict.fromkeys("NAO~", 5)
    assert "24 of 200 recordings are longer than 30 s: they are cropped" in caplog.text
    assert "43 of 200 recordings are shorter than 30 s: zeros follow" in caplog.text


def test_slices_of_cinc2021_overlap_in_training_only(shared_data):
    whole = load_dataset("cinc2021", shared_data / "cinc2021", "classes", 100)
    sliced = load_dataset("cinc2021", shared_data / "cinc2021", "slices", 100, seconds=4)
    assert set(sliced.ids) == set(whole.ids)
    database = open_database("cinc2021", shared_data / "cinc2021")
    rates = database.records["sampling_rate"]
    for row, record in enumerate(whole.ids):
        rows = np.flatnonzero(sliced.ids == record)
        assert (sliced.targets[rows] == whole.targets[row]).all()
        assert (sliced.splits[rows] == whole.splits[row]).all()
        last = int(database.samples(record) * 100 / rates[record]) - 400 + 1
        overlapping = range(0, last, 160) if whole.splits[row] == "train" else ()
        assert sliced.starts[rows].tolist() == sorted({*range(0, last, 400), *overlapping})
        for start, slice_ in zip(sliced.starts[rows], sliced.signals[rows], strict=True):
            if start + 400 <= 1000:
                np.testing.assert_array_equal(slice_, whole.signals[row][start : start + 400])
    with pytest.raises(UsageError, match="'step' is 0: choose a share"):
        load_dataset("cinc2021", shared_data / "cinc2021", "slices", target_options={"step": 0})


def test_classes_of_cinc2021_are_merged_and_rates_unified(shared_data, caplog):
    caplog.set_level("INFO")
    dataset = load_dataset("cinc2021", shared_data / "cinc2021", "classes")
    assert dataset.classes == list(scored_classes(2021)) and len(dataset.classes) == 26
    assert dataset.leads == LEADS and dataset.signals.shape[1:] == (5000, 12)
    assert "2 of 55 recordings of cinc2021 are resampled from 1000 Hz to 500 Hz" in caplog.text
    assert "does not say who was recorded" in caplog.text
    database = open_database("cinc2021", shared_data / "cinc2021")
    equal = {"RBBB": "CRBBB", "SVPB": "PAC", "VPB": "PVC", "LBBB": "CLBBB"}
    for row, record in enumerate(dataset.ids):
        names = {SCORED[code][0] for code in database.records["codes"][record] if code in SCORED}
        expected = {equal.get(name, name) for name in names}
        assert {dataset.classes[column] for column in np.flatnonzero(dataset.targets[row])} == expected
    everything = load_dataset("cinc2021", shared_data / "cinc2021", "classes", keep_unlabeled=True)
    assert len(everything) == 55 and len(dataset) == 48


def test_labels_of_cpsc2018_need_its_table(shared_data, tmp_path):
    for file in (shared_data / "cpsc2018").glob("*.mat"):
        shutil.copy(file, tmp_path)
    with pytest.raises(DataError, match=r"no record .* has a label of cpsc2018 .*copy the table of labels"):
        load_dataset("cpsc2018", tmp_path, "classes")
    rows = [f"A198{number},{1 + number % 3},{'5' if number == 2 else ''}," for number in range(6)]
    header = "Recording,First_label,Second_label,Third_label"
    (tmp_path / "REFERENCE.csv").write_text("\n".join([header, *rows]) + "\n")
    dataset = load_dataset("cpsc2018", tmp_path, "classes", 100, split="kfold", folds=3)
    assert dataset.leads == LEADS and dataset.signals.shape == (6, 1000, 12)
    assert np.flatnonzero(dataset.targets[2]).tolist() == [2, 4]


def test_premature_beats_of_cpsc2020_are_steps_of_windows(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("data", "ref"):
        (tmp_path / part).mkdir()
    for number in range(1, 5):
        scipy.io.savemat(tmp_path / f"data/A{number:02}.mat", {"ecg": rng.normal(size=(10_000, 1))})
        reference = {"S_ref": np.array([[900], [4_020]]), "V_ref": np.array([[300 + number]])}
        scipy.io.savemat(tmp_path / f"ref/R{number:02}.mat", {"ref": reference})
    dataset = load_dataset("cpsc2020", tmp_path, "premature_beats")
    assert dataset.kind == "tagging" and dataset.targets.shape == (12, 500, 3)
    assert set(dataset.splits) == {"train", "val", "test"}
    steps = np.arange(4, 4000, 8)
    np.testing.assert_array_equal(
        dataset.targets[0, :, 0] == 1, (np.abs(steps - 900) <= 30) | (steps >= 3990)
    )
    np.testing.assert_array_equal(dataset.targets[1, :, 0] == 1, np.abs(steps - 20) <= 30)
    np.testing.assert_array_equal(dataset.targets[2, :, 2] == 1, steps < 2000)
    assert dataset.beats.window[:3].tolist() == [0, 0, 1]


def test_record_without_samples_or_of_one_sample(tmp_path, caplog):
    caplog.set_level("INFO")
    for part in ("data", "ref"):
        (tmp_path / part).mkdir()
    empty = {"S_ref": np.empty((0, 1)), "V_ref": np.empty((0, 1))}
    for number, samples in enumerate((0, 1, 1, 5000, 5000), start=1):
        scipy.io.savemat(tmp_path / f"data/A{number:02}.mat", {"ecg": np.zeros((samples, 1))})
        scipy.io.savemat(tmp_path / f"ref/R{number:02}.mat", {"ref": empty})
    with pytest.raises(DataError, match=r"(?s)no record of task premature_beats is in .*--split kfold"):
        load_dataset("cpsc2020", tmp_path, "premature_beats")
    dataset = load_dataset("cpsc2020", tmp_path, "premature_beats", split="kfold", folds=3)
    assert dataset.ids.tolist() == ["A02", "A03", "A04", "A04", "A05", "A05"]
    assert "1 of 5 records of cpsc2020 have no window" in caplog.text
    assert (dataset.targets[0] == 0).all()  # the middle of its first step is behind its only sample
    assert dataset.targets[3, :, 2].sum() == 125
    with pytest.raises(DataError, match=r"A01\.mat: the recording has no samples: copy the file again"):
        open_database("cpsc2020", tmp_path).read("A01")


@pytest.mark.parametrize("task", ["main", "qrs_detection", "rr_lstm"])
def test_record_without_annotations_is_refused_not_taken_as_normal(shared_data, tmp_path, task):
    for file in (shared_data / "cpsc2021").glob("data_*"):
        if file.name != "data_8_4.atr":
            shutil.copy(file, tmp_path)
    with pytest.raises(DataError, match=r"(?s)of 1 of 18 records .*data_8_4: no beat is annotated: its"):
        load_dataset("cpsc2021", tmp_path, task)


def test_signal_that_is_absent_is_named_with_its_record(shared_data, tmp_path):
    for file in (shared_data / "cpsc2021").glob("data_*"):
        if file.name != "data_8_4.dat":
            shutil.copy(file, tmp_path)
    with pytest.raises(DataError, match=r"(?s)1 of 18 records in .*:\s+data_8_4: .*data_8_4.dat"):
        load_dataset("cpsc2021", tmp_path, "main")
    with pytest.raises(DataError, match=r"has no record of mitdb \(such as 101.hea\): point --data_dir"):
        load_dataset("mitdb", tmp_path, "rr_lstm")


def test_windows_of_a_record_that_cannot_be_read_are_left_out_on_request(shared_data, tmp_path):
    for file in (shared_data / "cpsc2021").glob("data_*"):
        if file.name != "data_8_4.dat":
            shutil.copy(file, tmp_path)
    whole = load_dataset("cpsc2021", shared_data / "cpsc2021", "main")
    dataset = load_dataset("cpsc2021", tmp_path, "main", on_missing="drop")
    kept = whole.ids != "data_8_4"
    np.testing.assert_array_equal(dataset.signals[:], whole.signals[:][kept])
    np.testing.assert_array_equal(dataset.targets, whole.targets[kept])

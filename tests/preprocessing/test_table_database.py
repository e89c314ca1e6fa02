"""A table of files of one's own as a database."""

import logging
import os

import numpy as np
import pandas as pd
import pytest

import twelvelead as tl
from databases import open_database
from preprocessing import load_dataset
from preprocessing.recordings.external import read_recording
from preprocessing.table_database import split_labels
from tests.helpers.own_files import write_table
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sixteen recordings with a table, which tests copy and change."""
    folder = tmp_path_factory.mktemp("own")
    write_table(folder / "mine.csv", 16)
    return folder


def changed(files, tmp_path, change, form="csv"):
    """The table with a change, in another folder, with the absolute paths of its files."""
    table = pd.read_csv(files / "mine.csv", keep_default_na=False)
    table["path"] = [str(files / path) for path in table["path"]]
    table = change(table)
    path = tmp_path / f"mine.{form}"
    table.to_parquet(path) if form == "parquet" else table.to_csv(path, index=False, sep=";")
    return path


def test_table_of_several_formats_becomes_a_dataset(files, tmp_path):
    dataset = tl.load_dataset("table", files / "mine.csv", "labels")
    assert dataset.classes == ["AF", "MI", "NORM"] and dataset.kind == "multilabel"
    assert dataset.signals.shape == (16, 1000, 12) and dataset.leads == LEADS and dataset.sampling_rate == 100
    table = pd.read_csv(files / "mine.csv")
    assert {path.rsplit(".", 1)[-1] for path in table["path"]} == {"csv", "npy", "hea"}
    for row in (0, 1, 2):
        given = {} if table["path"][row].endswith("hea") else {"sampling_rate": 100, "units": "mV"}
        expected = read_recording(files / table["path"][row], **given).signal
        np.testing.assert_allclose(dataset.signals[row], expected, atol=5e-4)
        names = [dataset.classes[column] for column in np.flatnonzero(dataset.targets[row])]
        assert names == sorted(split_labels(table["labels"][row]))
    assert dataset.splits.tolist() == table["split"].tolist()
    for form in ("csv", "parquet"):
        other = changed(files, tmp_path, lambda table: table, form)
        same = load_dataset("table", other, "labels", 100)
        np.testing.assert_array_equal(same.targets, dataset.targets)
        np.testing.assert_array_equal(same.signals[:], dataset.signals[:])
    one_hot = changed(
        files,
        tmp_path,
        lambda t: t.assign(**{n: t["labels"].str.contains(n).astype(int) for n in ("NORM", "AF")}).drop(
            columns="labels"
        ),
    )
    columns = load_dataset("table", one_hot, "labels", 100)
    assert columns.classes == ["NORM", "AF"]
    np.testing.assert_array_equal(columns.targets, dataset.targets[:, [2, 0]])
    database = open_database("table", files / "mine.csv")
    record = database.records.index[3]
    assert set(database.annotations(record).statements) == set(split_labels(table["labels"][3]))
    part = database.read(record, ["V2", "I"], 100, 300)
    np.testing.assert_array_equal(part.signal, database.read(record).signal[100:300][:, [7, 0]])


def test_table_without_splits_gets_the_same_ones_each_time(files, tmp_path):
    path = changed(files, tmp_path, lambda table: table.drop(columns="split"))
    first, again = (load_dataset("table", path, "labels") for _ in range(2))
    assert first.fingerprint == again.fingerprint and set(first.splits) == {"train", "val", "test"}
    for patient in set(first.patients):
        assert len(set(first.splits[first.patients == patient])) == 1


def test_table_is_read_again_without_its_files(files, tmp_path, monkeypatch):
    load_dataset("table", files / "mine.csv", "labels")
    monkeypatch.setattr("preprocessing.table_database.read_recording", None)
    assert len(load_dataset("table", files / "mine.csv", "labels")) == 16
    os.utime(files / pd.read_csv(files / "mine.csv")["path"][0])
    with pytest.raises(TypeError):  # a file that has changed is read
        load_dataset("table", files / "mine.csv", "labels")


def test_rows_without_labels_are_left_out_or_kept(files, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = changed(files, tmp_path, lambda t: t.assign(labels=["", *t["labels"][1:]]))
    assert len(load_dataset("table", path, "labels")) == 15
    assert "1 of 16 rows have no label and are left out" in caplog.text
    kept = load_dataset("table", path, "labels", keep_unlabeled=True)
    assert len(kept) == 16 and not kept.targets[0].any()
    with pytest.raises(DataError, match=r"row 4 has 2 labels; task classes needs exactly one"):
        load_dataset("table", path, "classes")


def test_folder_with_a_table_of_the_usual_name(files, tmp_path):
    with pytest.raises(
        DataError, match=r"has neither of records.csv and records.parquet: point --data_dir at the"
    ):
        open_database("table", tmp_path)
    changed(files, tmp_path, lambda table: table).rename(tmp_path / "records.csv")
    assert len(open_database("table", tmp_path).records) == 16
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match=r"empty.csv is not a table that can be read"):
        open_database("table", tmp_path / "empty.csv").records  # noqa: B018
    with pytest.raises(DataError, match=r"none.csv does not exist: --data_dir names the table"):
        open_database("table", tmp_path / "none.csv").records  # noqa: B018


def set_cell(column, row, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"patient": "patients"}), "did you mean 'patients'"),
        (lambda t: t.drop(columns="labels"), r"has no labels: add a column 'labels'"),
        (lambda t: t.assign(labels=""), r"the column 'labels' is empty in every row"),
        (lambda t: t.drop(columns="labels").assign(AF=2), r"column 'AF' must be 0 or 1, .*: row 2 \(2\)"),
        (lambda t: t.drop(columns="labels").assign(AF=0), "no row has the class 'AF': leave"),
        (lambda t: t[:0], r"has no rows: list a recording in each"),
        (set_cell("path", 4, "nowhere.csv"), r"(?s)1 of 16 rec.*\s+row 6: .*nowhere.csv"),
        (set_cell("patient", 3, ""), r"column 'patient' is empty: row 5"),
        (set_cell("split", 3, "training"), r"must be train, val, test or empty: row 5 \(training\)"),
        (set_cell("split", 3, ""), r"column 'split' is empty here, but not everywhere: row 5"),
        (set_cell("sampling_rate", 1, "fast"), r"column 'sampling_rate' must be Hz above 0: row 3 \(fast\)"),
        (set_cell("split", 1, "test"), r"patient p0 is in two splits, train \(row 2\) and test \(row 3\)"),
        (lambda t: pd.concat([t, t[2:3]]), r"column 'record' is named twice: row 18"),
    ],
)  # fmt: skip
def test_table_that_is_wrong_names_the_row_and_the_remedy(files, tmp_path, change, message):
    path = changed(files, tmp_path, change)
    with pytest.raises(DataError, match=message):
        load_dataset("table", path, "labels")


def test_recording_that_is_damaged_or_lacks_a_lead_is_named_by_its_row(files, tmp_path):
    signal = np.load(next((files / "ecg").glob("*.npy")))
    pd.DataFrame(signal[:, :11], columns=list(LEADS)[:11]).to_csv(tmp_path / "eleven.csv", index=False)
    (tmp_path / "damaged.csv").write_bytes(b"\0\1\2")

    def change(table):
        return set_cell("path", 5, str(tmp_path / "damaged.csv"))(
            set_cell("path", 3, str(tmp_path / "eleven.csv"))(table)
        )

    with pytest.raises(DataError, match=r"(?s)2 of 16 recordings .*row 5: .*V6.*row 7: .*damaged.csv"):
        load_dataset("table", changed(files, tmp_path, change), "labels")


def test_lengths_and_rates_that_differ_are_named(files, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    signal = np.load(next((files / "ecg").glob("*.npy")))
    np.save(tmp_path / "short.npy", signal[:700])
    np.save(tmp_path / "fast.npy", np.repeat(signal, 5, axis=0))
    short = changed(files, tmp_path, set_cell("path", 1, str(tmp_path / "short.npy")))
    with pytest.raises(DataError, match=r"short.npy: 7 s, the first record has 10 s: choose --seconds"):
        load_dataset("table", short, "labels")
    assert load_dataset("table", short, "labels", seconds=5).signals.shape == (16, 500, 12)

    def change(table):
        return set_cell("path", 1, str(tmp_path / "fast.npy"))(set_cell("sampling_rate", 1, 500)(table))

    fast = changed(files, tmp_path, change)
    assert load_dataset("table", fast, "labels").signals.shape == (16, 1000, 12)
    assert "1 of 16 recordings of table are resampled from 500 Hz to 100 Hz" in caplog.text
    with pytest.raises(UsageError, match=r"the records have 100, 500 Hz: choose --sampling_rate"):
        tl.load_dataset("table", fast, "labels", 0)


def test_load_dataset_of_the_api_chooses_tasks_and_folders(files, shared_data, monkeypatch, tmp_path):
    with pytest.raises(
        UsageError, match="ludb has several tasks, choose one: qrs_by_lead, qrs_detection, waves"
    ):
        tl.load_dataset("ludb", shared_data / "ludb")
    with pytest.raises(UsageError, match="unknown database 'ptbx': did you mean 'ptbxl'"):
        tl.load_dataset("ptbx")
    with pytest.raises(UsageError, match="unknown task 'wave' of ludb: did you mean 'waves'"):
        tl.load_dataset("ludb", shared_data / "ludb", "wave")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cinc2017").symlink_to(shared_data / "cinc2017")
    monkeypatch.chdir(tmp_path)
    dataset = tl.load_dataset("cinc2017")
    assert (dataset.task, dataset.sampling_rate, len(dataset)) == ("classes", 300, 200)

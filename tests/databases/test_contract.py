"""What every registered database promises, held on its real files where they are at hand."""

import math
import re

import numpy as np
import pytest

from databases import Annotations, list_databases, open_database
from databases.archives import Archives
from databases.base import Source
from databases.incartdb import Incartdb
from databases.mitdb import Mitdb
from databases.registry import database_class
from databases.svdb import Svdb
from tests.helpers.database_files import WRITERS
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

COLUMNS = {"patient", "path", "sampling_rate", "leads", "split"}
# cpsc2018: the files at hand come without REFERENCE.csv
WITHOUT_ANNOTATIONS = {"cpsc2018", "ptbxl_plus", "shhs"}


@pytest.fixture(params=list_databases())
def database(request, tmp_path):
    name = request.param
    if name in WRITERS:
        WRITERS[name](tmp_path / name)
        return open_database(name, tmp_path / name)
    folder = request.getfixturevalue("shared_data") / name
    if not folder.is_dir():
        pytest.skip(f"no files of {name} in {folder}")
    return open_database(name, folder)


def test_database_describes_itself(database):
    assert database_class(database.name) is type(database)
    assert database.title and database.license and (database.doi or database.name in ("synthetic", "table"))
    source = database.source
    assert not isinstance(source, Source) or source.url.startswith("https://physionet.org/files/")
    assert not isinstance(source, Archives) or all(re.match("https?://[^/]+/.*[^/]$", u) for u in source.urls)
    assert database.lead_count >= max(map(len, database.records["leads"][:20]))
    anything = database.name == "table"  # has what its user has
    assert anything or set(database.records["sampling_rate"]) <= set(database.rates)
    assert set(database.split_names) <= {"train", "val", "test"}


def test_database_lists_its_records(database):
    records = database.records
    assert set(records.columns) >= COLUMNS and len(records) and records.index.is_unique
    assert set(records["split"]) <= {"train", "val", "test", ""}
    assert all(isinstance(leads, tuple) and leads for leads in records["leads"])
    patients = records[records["split"] != ""].groupby("patient")["split"].nunique()
    assert patients.empty or patients.max() == 1


def test_database_reads_recordings_and_parts_of_them(database):
    files = sorted(database.root.glob("[!.]*"))
    record = database.records.index[-1]
    row = database.row(record)
    recording = database.read(record)
    assert recording.signal.dtype == np.float32 and recording.signal.shape[1] == len(recording.leads)
    assert recording.sampling_rate == row["sampling_rate"] and np.isfinite(recording.signal).all()
    assert [lead.upper() for lead in recording.leads] == [lead.upper() for lead in row["leads"]]
    assert 0.05 < np.ptp(recording.signal, axis=0).max() < 40  # mV
    lead = recording.leads[-1]
    part = database.read(record, [lead], 10, 90)
    np.testing.assert_array_equal(part.signal, recording.signal[10:90, -1:])
    assert part.leads == (lead,) and recording.source.is_file()
    with pytest.raises((DataError, UsageError), match=r"no lead|one lead"):
        database.read(record, ["X9"])
    for start, stop in ((-1, 5), (5, 5), (0, 10**9)):
        with pytest.raises(UsageError, match="no part from"):
            database.read(record, None, start, stop)
    with pytest.raises(UsageError, match="has no record"):
        database.read("nobody")
    assert sorted(database.root.glob("[!.]*")) == files  # nothing is written: the folder may be read-only


def test_database_reads_annotations(database):
    record = database.records.index[0]
    annotations = database.annotations(record)
    assert isinstance(annotations, Annotations)
    length = len(database.read(record).signal)
    assert (np.diff(annotations.marks.samples) >= 0).all() and (annotations.marks.samples < length).all()
    assert len(annotations.beats.samples) <= len(annotations.marks.samples)
    assert (annotations.rhythms.start < annotations.rhythms.end).all()
    waves = annotations.waves
    assert set(waves.kind.tolist()) <= {"P", "QRS", "T", "U"}
    whole = (waves.onset >= 0) & (waves.offset >= 0)
    assert (waves.onset[whole] <= waves.peak[whole]).all() and (
        waves.peak[whole] <= waves.offset[whole]
    ).all()
    assert all(0 <= likelihood <= 100 for likelihood in annotations.statements.values())


def test_database_has_annotations_of_some_kind(database):
    read = [database.annotations(record) for record in database.records.index[:5]]
    parts = [(a.beats.samples, a.waves.kind, a.rhythms.name, a.statements) for a in read]
    assert any(len(part) for one in parts for part in one) == (database.name not in WITHOUT_ANNOTATIONS)


def test_database_names_an_absent_folder(tmp_path):
    for name in list_databases():
        with pytest.raises(DataError, match="nowhere"):
            _ = open_database(name, tmp_path / "nowhere").records


# --- the tables of records --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "train", "test"), [(Mitdb, 22, 22), (Svdb, 39, 39), (Incartdb, 37, 38)])
def test_published_splits_have_their_sizes_and_ours_keeps_patients(kind, train, test):
    records = (*kind.train, *kind.test)
    assert (len(kind.train), len(kind.test), len(set(records))) == (train, test, train + test)
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(kind.patients.get(record, record), set()).add(kind.split_of(record))
    assert all(len(names) == 1 for names in splits.values())
    assert kind.val < set(kind.train)
    assert {kind.split_of(record) for record in records} == {"train", "val", "test"}


def test_patients_of_incartdb_and_mitdb():
    assert Mitdb.split_of("202") == "train" and "202" in Mitdb.test and Mitdb.patients["202"] == "201"
    assert len(set(Incartdb.patients.values())) == 32
    names = ("I01", "I02", "I03", "I08", "I37", "I38", "I75")
    assert [Incartdb.patients[name] for name in names] == ["1", "1", "2", "4", "16", "17", "32"]


# --- real records -----------------------------------------------------------------------------------------


def test_mitdb_gives_beats_rhythms_and_persons(shared_data):
    database = open_database("mitdb", shared_data / "mitdb")
    row = database.row("100")
    assert (row["age"], row["sex"], row["leads"], row["samples"]) == (69, "M", ("MLII", "V5"), 650000)
    assert (row["split"], row["published_split"]) == ("test", "test")
    annotations = database.annotations("100")
    assert len(annotations.beats.samples) == 2273  # of 2274 annotations, the first of which is a rhythm
    assert annotations.rhythms.name.tolist() == ["N"] and annotations.rhythms.end.tolist() == [650000]
    assert {"AFIB", "N"} <= set(database.annotations("201").rhythms.name.tolist())


def test_ludb_gives_waves_of_every_lead_and_findings(shared_data):
    database = open_database("ludb", shared_data / "ludb")
    annotations = database.annotations("1")
    assert set(annotations.waves.lead.tolist()) == set(LEADS)
    assert annotations.statements["sinus bradycardia"] == 0
    row = database.row("1")
    assert (row["age"], row["sex"], row["patient"]) == (51, "F", "1")
    assert math.isclose(database.read("1", ["avr"]).sampling_rate, 500)


def test_ptbxl_gives_statements_and_500_hz(shared_data):
    database = open_database("ptbxl", shared_data / "ptbxl", sampling_rate=500)
    record = next(
        i for i, row in database.records.iterrows() if (database.root / f"{row['path']}.dat").exists()
    )
    assert database.read(record).signal.shape == (5000, 12)
    assert database.annotations(record).statements == database.row(record)["scp_codes"]
    assert set(database.records["fold"]) <= set(range(1, 11))

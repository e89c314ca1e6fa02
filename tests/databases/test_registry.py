"""Databases by name: registration, names taken twice, unknown names and records."""

import numpy as np
import pandas as pd
import pytest

from databases import (
    Annotations,
    Database,
    Marks,
    Recording,
    list_databases,
    open_database,
    register_database,
)
from databases.registry import _DATABASES
from utils.errors import UsageError


class Toy(Database):
    """Two records of a ramp."""

    name, title, license, doi = "toy", "Toy 1.0", "CC0", "10.0/0"

    def _read_records(self):
        row = {"patient": "1", "path": "a", "sampling_rate": 10, "leads": ("I",), "split": "train"}
        return pd.DataFrame([row, row | {"path": "b"}], index=["a", "b"])

    def read(self, record, leads=None, start=None, stop=None):
        self.row(record)
        return Recording(np.arange(20, dtype=np.float32)[start:stop, None], 10, ("I",))


@pytest.fixture
def toy():
    register_database(Toy)
    yield Toy
    _DATABASES.remove("toy")


def test_registered_database_is_listed_and_opened(toy, tmp_path):
    assert "toy" in list_databases()
    database = open_database("toy", tmp_path)
    assert isinstance(database, Toy) and database.root == tmp_path
    assert database.records is database.records and list(database.records.index) == ["a", "b"]
    assert database.read("b", start=3, stop=5).signal.tolist() == [[3], [4]]
    empty = database.annotations("a")
    assert len(empty.beats.samples) == len(empty.waves.kind) == len(empty.rhythms.name) == 0


def test_name_of_two_databases_names_both_modules(toy):
    other = type("Other", (Toy,), {"__module__": "elsewhere.toy"})
    with pytest.raises(UsageError, match=rf"database 'toy': {__name__} and elsewhere\.toy"):
        register_database(other)
    assert register_database(toy) is toy  # a module that runs again replaces its own


def test_registry_names_the_nearest_database_and_record(toy, tmp_path):
    with pytest.raises(UsageError, match="unknown database 'toi': did you mean 'toy'"):
        open_database("toi", tmp_path)
    with pytest.raises(UsageError, match=r"toy in .* has no record 'c'"):
        open_database("toy", tmp_path).read("c")
    with pytest.raises(UsageError, match="has no record 'aa': did you mean 'a'"):
        open_database("toy", tmp_path).annotations("aa")


def test_records_without_a_required_column_are_refused(tmp_path):
    class Incomplete(Toy):
        def _read_records(self):
            return super()._read_records().drop(columns=["leads", "split"])

    with pytest.raises(UsageError, match="toy: the table of records has no column leads, split"):
        _ = Incomplete(tmp_path).records


def test_database_without_an_address_is_not_downloaded(toy, tmp_path):
    with pytest.raises(UsageError, match="toy has no known download address"):
        toy.download(tmp_path)


def test_beats_are_the_marks_of_beats():
    marks = Marks(np.arange(6), np.array(["+", "N", "~", "V", "[", "/"]))
    beats = Annotations(marks).beats
    assert beats.samples.tolist() == [1, 3, 5] and beats.symbols.tolist() == ["N", "V", "/"]

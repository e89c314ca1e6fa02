"""The array cache: made once, whole or not at all, never older than the database."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databases.ptbxl_signals import RecordReader
from preprocessing import load_ptbxl
from preprocessing.cache import cache_folders
from preprocessing.signals import SampleFile, ScaledSignals
from tests.helpers.ptbxl_files import small_ecg, write_record, write_small_ptbxl
from utils.errors import DataError, TwelveLeadError
from utils.files import read_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_small_ptbxl(tmp_path_factory.mktemp("database") / "ptb", records=20)


@pytest.fixture
def database(written, tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("TWELVELEAD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return Path(shutil.copytree(written, tmp_path / "ptb"))


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Grows by one whenever the recordings themselves are read."""
    counted: list[int] = []
    original = RecordReader.__init__

    def counting(self, *args):
        counted.append(1)
        original(self, *args)

    monkeypatch.setattr(RecordReader, "__init__", counting)
    return counted


def arrays(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def test_cache_serves_every_task(database, reads):
    first = load_ptbxl(database)
    (array,) = arrays(database)
    assert array.parent.name == ".twelvelead_cache"
    card = read_json(array.with_suffix(".json"))
    assert card["ecg_ids"] == list(range(1, 21))
    assert (card["sampling_rate"], card["units_per_mv"], card["shape"]) == (100, 1000, [20, 1000, 12])
    second = load_ptbxl(database, task="rhythm")
    assert len(reads) == 1
    np.testing.assert_array_equal(first.signals[:], second.signals[:])
    assert np.load(array, allow_pickle=False).dtype == np.int16


def test_cache_is_made_again_when_a_recording_changes(database, reads):
    before = load_ptbxl(database)
    samples = small_ecg(np.random.default_rng(99), 1000, 100)
    write_record(database / "records100/00000/00005_lr", samples, 100)
    after = load_ptbxl(database)
    assert len(reads) == 2
    np.testing.assert_array_equal(after.signals.raw(4), samples)
    assert before.fingerprint != after.fingerprint


def test_caches_of_other_states_live_for_an_hour(database, reads):
    """Two processes that see different records of one folder must not delete each other's cache."""
    load_ptbxl(database)
    (first,) = arrays(database)
    for suffix in (".hea", ".dat"):
        (database / "records100/00000/00001_lr").with_suffix(suffix).unlink()
    load_ptbxl(database, on_missing="drop")
    assert first in arrays(database) and len(arrays(database)) == 2
    for path in (first, first.with_suffix(".json")):
        os.utime(path, (1e9, 1e9))
    (database / "records100/00000/00002_lr.dat").touch()
    load_ptbxl(database, on_missing="drop")
    assert not first.exists() and not first.with_suffix(".json").exists()
    assert len(reads) == 3


def test_cache_is_made_again_when_the_list_of_records_changes(database, reads):
    load_ptbxl(database)
    path = database / "ptbxl_database.csv"
    pd.read_csv(path, index_col=0).drop(index=1).to_csv(path)
    assert load_ptbxl(database).ecg_ids.tolist() == list(range(2, 21))
    assert len(reads) == 2


def test_labels_are_never_cached(database, reads):
    before = load_ptbxl(database)
    path = database / "ptbxl_database.csv"
    table = pd.read_csv(path, index_col=0)
    table.loc[1, "scp_codes"] = "{'LVH': 100.0}"
    table.to_csv(path)
    after = load_ptbxl(database)
    assert after.labels[0].tolist() == [0, 1, 0, 0, 0]
    assert len(reads) == 1
    assert before.fingerprint != after.fingerprint


def test_recording_deleted_is_missed_although_it_is_cached(database):
    load_ptbxl(database)
    (database / "records100/00000/00009_lr.dat").unlink()
    with pytest.raises(DataError, match=r"ecg_id 9, .*missing"):
        load_ptbxl(database)


@pytest.mark.parametrize(
    "damage", ["flip", "truncate", "no sidecar", "broken sidecar", "other sidecar", "empty"]
)
def test_cache_that_is_damaged_is_made_again(database, reads, damage):
    expected = load_ptbxl(database).signals[:]
    (array,) = arrays(database)
    sidecar = array.with_suffix(".json")
    data = bytearray(array.read_bytes())
    if damage == "flip":
        data[-5001] ^= 1
        array.write_bytes(data)
    elif damage == "truncate":
        array.write_bytes(data[:-24000])
    elif damage == "no sidecar":  # the process died between the two files
        sidecar.unlink()
    elif damage == "broken sidecar":
        sidecar.write_text(sidecar.read_text()[:-100])
    elif damage == "other sidecar":
        sidecar.write_text("[1, 2]")
    else:
        array.write_bytes(b"")
    np.testing.assert_array_equal(load_ptbxl(database).signals[:], expected)
    assert len(reads) == 2
    np.testing.assert_array_equal(load_ptbxl(database).signals[:], expected)
    assert len(reads) == 2


def test_cache_damaged_behind_an_unchanged_time_is_noticed_when_it_is_read(database, reads):
    """Every changed byte of the samples is found when it is read, and the next start makes a new cache."""
    expected = load_ptbxl(database).signals[:]
    (array,) = arrays(database)
    whole, state = array.read_bytes(), array.stat()
    header = len(whole) - expected.size * 2
    rng = np.random.default_rng(0)
    for place in rng.integers(header, len(whole), 20):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        array.write_bytes(data)
        os.utime(array, ns=(state.st_atime_ns, state.st_mtime_ns))
        damaged = load_ptbxl(database)
        row = (place - header) // (expected[0].size * 2)
        others = np.arange(len(expected)) != row
        np.testing.assert_array_equal(damaged.signals[others], expected[others])
        with pytest.raises(
            DataError, match=f"recording {row} is not what was written.*run the command again"
        ):
            damaged.signals[:]
        before = len(reads)
        np.testing.assert_array_equal(load_ptbxl(database).signals[:], expected)
        assert len(reads) == before + 1
        state = array.stat()


def test_copied_cache_is_checked_and_used(database, reads, tmp_path):
    load_ptbxl(database)
    (array,) = arrays(database)
    os.utime(array)  # as after a copy: same content, another time
    load_ptbxl(database)
    assert len(reads) == 1


def test_failure_while_reading_leaves_nothing(database):
    (database / "records100/00000/00020_lr.dat").write_bytes(b"short")
    with pytest.raises(DataError, match="only 5 bytes"):
        load_ptbxl(database)
    assert not list((database / ".twelvelead_cache").iterdir())


@pytest.mark.parametrize("where", ["preprocessing.cache.write_json", "utils.files.os.replace"])
def test_cache_is_whole_or_absent_after_a_kill(database, where):
    code = (
        "import os, signal, sys, unittest.mock, preprocessing\n"
        f"with unittest.mock.patch('{where}', lambda *a: os.kill(os.getpid(), signal.SIGKILL)):\n"
        "    preprocessing.load_ptbxl(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(database)], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not list(database.rglob("*cache/*.json"))
    dataset = load_ptbxl(database)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(dataset.signals.raw(0), small_ecg(rng, 1000, 100))


def test_leftovers_of_killed_processes_go_after_an_hour(database):
    folder = database / ".twelvelead_cache"
    folder.mkdir()
    old, new = (folder / f".partial-{name}-ptbxl_100hz_0123.npy" for name in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    load_ptbxl(database)
    assert not old.exists()
    assert new.exists()  # perhaps another process is writing it now


def test_read_only_database_is_cached_for_the_user_and_says_so(database, tmp_path, caplog):
    caplog.set_level("INFO")
    database.chmod(0o555)
    try:
        before = sorted(database.rglob("*"))
        first = load_ptbxl(database)
        said = list(caplog.messages)
        caplog.clear()
        second = load_ptbxl(database)
        assert sorted(database.rglob("*")) == before
    finally:
        database.chmod(0o755)
    assert len(said) == 1
    assert "is read-only" in said[0]
    assert str(tmp_path / "user" / "twelvelead") in said[0]
    assert len(arrays(tmp_path / "user")) == 1
    assert not caplog.messages
    assert first.fingerprint == second.fingerprint


def test_cache_shipped_with_a_read_only_database_is_used(database, tmp_path, reads):
    load_ptbxl(database)
    database.chmod(0o555)
    try:
        load_ptbxl(database)
    finally:
        database.chmod(0o755)
    assert len(reads) == 1
    assert not (tmp_path / "user").exists()


def test_cache_folder_serves_several_databases(database, tmp_path, monkeypatch, reads):
    other = write_small_ptbxl(tmp_path / "other", records=20, seed=5)
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "named"))
    for _ in range(2):
        load_ptbxl(database)
        load_ptbxl(other)
    assert len(reads) == 2
    assert len(arrays(tmp_path / "named")) == 2
    load_ptbxl(database, cache_dir=tmp_path / "argument")  # the argument wins
    assert len(arrays(tmp_path / "argument")) == 1


def test_cache_needs_no_home_folder(database, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folders(database) == [database / ".twelvelead_cache"]
    assert len(load_ptbxl(database)) == 20


def test_cache_folder_that_cannot_be_written(database, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TwelveLeadError, match="cannot write"):
        load_ptbxl(database, cache_dir=tmp_path / "file")


def test_fingerprint_is_of_the_content_not_of_the_place(database, tmp_path):
    copy = shutil.copytree(database, tmp_path / "copy", copy_function=shutil.copy)
    fingerprint = load_ptbxl(database).fingerprint
    assert load_ptbxl(copy).fingerprint == fingerprint
    assert load_ptbxl(database, task="all").fingerprint != fingerprint
    assert load_ptbxl(database, min_likelihood=60).fingerprint != fingerprint
    assert len(fingerprint) == 64


# ---- the open array ------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path) -> tuple[Path, np.ndarray]:
    samples = np.random.default_rng(3).integers(-30000, 30000, (7, 5, 12)).astype("<i2")
    np.save(tmp_path / "samples.npy", samples)
    return tmp_path / "samples.npy", samples


@pytest.mark.parametrize(
    "rows",
    [
        0,
        -1,
        np.int64(3),
        slice(None),
        slice(5, 1, -2),
        slice(3, 3),
        [6, 0, 0],
        np.empty(0, dtype=np.int64),
        np.arange(7) > 3,
        [[1, 2], [3, 4]],
    ],
    ids=repr,
)
def test_sample_file_indexes_records_as_numpy_does(stored, rows):
    path, samples = stored
    found = SampleFile(path)[rows]
    np.testing.assert_array_equal(found, samples[rows])
    assert (found.dtype, found.shape) == (samples.dtype, samples[rows].shape)
    np.testing.assert_array_equal(ScaledSignals(SampleFile(path))[rows], ScaledSignals(samples)[rows])


def test_sample_file_refuses_rows_that_are_not_there(stored):
    for rows in (7, -8, [0, 7]):
        with pytest.raises(IndexError, match="out of bounds"):
            SampleFile(stored[0])[rows]


def test_sample_file_outlives_its_name_but_not_its_end(stored):
    """Another process may remove a cache that is in use; nobody may shorten it."""
    path, samples = stored
    open_file = SampleFile(path)
    with open(path, "r+b") as file:
        path.unlink()
        np.testing.assert_array_equal(open_file[2], samples[2])
        file.truncate(path_size := 128 + 6 * samples[0].nbytes)
    assert path_size < 128 + samples.nbytes
    np.testing.assert_array_equal(open_file[5], samples[5])
    with pytest.raises(DataError, match="shorter while it was in use"):
        open_file[6]


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3, 4)), np.zeros((2, 3, 4), dtype=">i2"), np.asfortranarray(np.zeros((2, 3, 4), "<i2"))],
)
def test_sample_file_refuses_other_arrays(tmp_path, array):
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(ValueError, match="int16 samples"):
        SampleFile(tmp_path / "other.npy")


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="no /proc to see what is mapped")
def test_cache_is_not_mapped_into_memory(database):
    """Pages of a map would count as this process's memory, up to the whole database."""
    dataset = load_ptbxl(database)
    assert dataset.signals[:].shape == (20, 1000, 12)
    assert ".twelvelead_cache" not in Path("/proc/self/maps").read_text()

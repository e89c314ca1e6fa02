"""PTB-XL from disk to arrays: real records, a small written database, its splits."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databases.ptbxl import read_database, read_statements, release_of
from databases.ptbxl_signals import RecordReader, read_with_wfdb
from databases.synthetic import write_dataset
from databases.wfdb_files import import_wfdb
from preprocessing import Standardizer, fit_standardizer, load_ptbxl
from tests.helpers.ptbxl_files import small_ecg, write_record, write_small_ptbxl
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

wfdb = import_wfdb()

# Reference values of record 04827 (100 Hz), raw and after the scaler that IMLE-Net ships.
SAMPLE_FIRST = [-0.015, -0.05, -0.035, 0.033, 0.01, -0.042, 0.05, -0.11, -0.105, -0.13, -0.135, -0.145]
SAMPLE_SCALED_FIRST = [-0.061041127, -0.21176145, -0.14716703, 0.14566103, 0.046616247, -0.17731109]
SAMPLE_SCALED_FIRST += [0.21886805, -0.47013915, -0.44860768, -0.55626505, -0.57779653, -0.62085948]
SAMPLE_SCALED_LAST = [0.62365977, -0.27635588, -0.89646235, -0.16439221, 0.76576751, -0.58640912]
SAMPLE_SCALED_LAST += [0.31791283, 0.56337165, 0.63227236, 0.059535132, 0.12843585, -0.065347422]
SHIPPED_SCALER = Standardizer(mean=-0.000825140242832062, std=0.23221818381812617)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_small_ptbxl(tmp_path_factory.mktemp("database") / "ptb", records=40)


@pytest.fixture
def database(written, tmp_path) -> Path:
    """A private copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "ptb"))


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def read_direct(folder: Path, names: list[str], rate: int) -> np.ndarray:
    reader = RecordReader(folder, range(len(names)), names, rate)
    return np.concatenate([block.copy() for block in reader.blocks()])


# ---------------------------------------------------------------- real records


def test_sample_record_and_the_shipped_scaler_give_the_reference_values(shared_data):
    (samples,) = read_direct(shared_data / "sample", ["04827_lr"], 100)
    signal = samples / 1000
    assert signal.shape == (1000, 12)
    np.testing.assert_array_equal(signal[0], SAMPLE_FIRST)
    assert signal.mean() == pytest.approx(-0.001759333333333332, abs=1e-15)
    scaled = SHIPPED_SCALER(signal)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[0], SAMPLE_SCALED_FIRST, atol=1e-6)
    np.testing.assert_allclose(scaled[-1], SAMPLE_SCALED_LAST, atol=1e-6)
    assert scaled.std(dtype=np.float64) == pytest.approx(0.8734692485949703, abs=1e-6)


def test_ptbxl_has_the_published_counts_splits_and_scaler(whole_ptbxl):
    dataset = load_ptbxl(whole_ptbxl)
    every = load_ptbxl(whole_ptbxl, task="all")
    assert dataset.version == every.version == "1.0.3"
    assert [len(every.split(name)) for name in ("train", "val", "test")] == [17418, 2183, 2198]
    # 411 of the 21,799 records have no diagnostic superclass and are left out
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [17084, 2146, 2158]
    assert dict(zip(dataset.classes, dataset.labels.sum(axis=0).tolist(), strict=True)) == {
        "CD": 4898,
        "HYP": 2649,
        "MI": 5469,
        "NORM": 9514,
        "STTC": 5235,
    }
    assert dataset.signals.shape == (21388, 1000, 12)
    assert dataset.signals[5].dtype == np.float32
    train = dataset.split("train")
    scale = fit_standardizer(train)
    total = squares = 0
    for start in range(0, len(train), 2048):
        plain = train.signals.raw(slice(start, start + 2048)).astype(np.int64)
        total, squares = total + int(plain.sum()), squares + int((plain**2).sum())
    mean = total / (len(train) * 12000)
    assert scale.mean == pytest.approx(mean / 1000, rel=1e-9)
    assert scale.std == pytest.approx((squares / (len(train) * 12000) - mean**2) ** 0.5 / 1000, rel=1e-12)
    # the scaler that IMLE-Net ships was fitted on an earlier release: equal to five digits
    assert scale.mean == pytest.approx(SHIPPED_SCALER.mean, abs=2e-7)
    assert scale.std == pytest.approx(SHIPPED_SCALER.std, abs=5e-6)


def test_ptbxl_label_sets_have_the_published_sizes_and_order(whole_ptbxl):
    sizes = {"superdiagnostic": 5, "subdiagnostic": 23, "diagnostic": 44, "form": 19, "rhythm": 12, "all": 71}
    sizes |= {"proto_rhythm": 16, "proto_morphology": 52, "proto_global": 3}
    with_a_statement = {"superdiagnostic": 21388, "diagnostic": 21388, "form": 8978, "rhythm": 21030}
    order = list(read_statements(whole_ptbxl).index)
    for task, size in sizes.items():
        dataset = load_ptbxl(whole_ptbxl, task=task)
        assert len(dataset.classes) == dataset.labels.shape[1] == size
        assert dataset.split("train").labels.any(axis=0).all()
        if task in with_a_statement:
            assert dataset.labels.any(axis=1).sum() == with_a_statement[task]
        if task not in ("superdiagnostic", "subdiagnostic"):
            assert dataset.classes == sorted(dataset.classes, key=order.index)
        if task == "all" or task.startswith("proto_"):
            assert len(dataset) == 21799
        if task == "subdiagnostic":
            assert dataset.classes[:5] == ["STTC", "NST_", "NORM", "IMI", "AMI"]
            assert dataset.classes[-3:] == ["ILBBB", "SEHYP", "PMI"]


@pytest.mark.parametrize(("rate", "every"), [(100, 40), (500, 6)])
def test_direct_reader_equals_wfdb_on_real_records(shared_data, rate, every):
    folder = shared_data / "ptbxl"
    suffix = ".hea"
    names = sorted(
        str(p.relative_to(folder))[: -len(suffix)] for p in (folder / f"records{rate}").rglob("*.hea")
    )
    names = names[::every]
    assert len(names) >= 10
    direct = read_direct(folder, names, rate)
    for name, samples in zip(names, direct, strict=True):
        np.testing.assert_array_equal(samples / 1000, wfdb.rdrecord(str(folder / name)).p_signal)
        np.testing.assert_array_equal(samples, read_with_wfdb(folder / name, rate))


def test_ptbxl_leads_obey_einthoven_and_goldberger(shared_data, real_cache):
    signals = load_ptbxl(shared_data / "ptbxl", cache_dir=real_cache).signals[:300].astype(np.float64)
    one, two, three, right, left, foot = np.moveaxis(signals[:, :, :6], 2, 0)
    for identity in (
        three - (two - one),
        right + (one + two) / 2,
        left - (one - three) / 2,
        foot - (two + three) / 2,
    ):
        assert np.median(np.abs(identity).max(axis=1)) < 0.0025
    assert np.median(np.abs(right - (one - three) / 2).max(axis=1)) > 0.1  # aVR in the place of aVL is seen


def test_partial_download_at_500_hz(shared_data, whole_ptbxl, tmp_path, caplog):
    caplog.set_level("INFO")
    partial = tmp_path / "ptb"  # all rows of the table, 60 of the recordings
    partial.mkdir()
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        shutil.copy(whole_ptbxl / name, partial)
    (partial / "records500").symlink_to(shared_data / "ptbxl" / "records500")
    with pytest.raises(
        DataError, match=r"(?s)21739 of 21799 records.*use --partial \(Python: on_missing='drop'\)"
    ) as error:
        load_ptbxl(partial, sampling_rate=500)
    assert "... and 21729 more" in str(error.value)
    dataset = load_ptbxl(partial, sampling_rate=500, on_missing="drop", task="all")
    assert dataset.signals.shape == (60, 5000, 12)
    assert "21739 of 21799 records" in caplog.text


# ---------------------------------------------------------------- the small written database


def test_small_database_arrays_are_what_was_written(written, tmp_path):
    dataset = load_ptbxl(written, task="all", cache_dir=tmp_path)
    rng = np.random.default_rng(0)
    expected = np.stack([small_ecg(rng, 1000, 100, size=1 + k % 7 / 4) for k in range(40)])
    np.testing.assert_array_equal(dataset.signals.raw(slice(None)), expected)
    np.testing.assert_array_equal(np.asarray(dataset.signals), (expected / 1000).astype(np.float32))
    assert dataset.ecg_ids.tolist() == list(range(1, 41))
    assert dataset.patient_ids.tolist() == [1000 + k // 2 for k in range(40)]
    assert dataset.folds.tolist() == [k // 2 % 10 + 1 for k in range(40)]
    assert set(dataset.split("val").folds) == {9}
    assert set(dataset.split("test").folds) == {10}
    assert set(dataset.split("train").folds) == set(range(1, 9))
    assert dataset.leads == LEADS
    assert dataset.version == "no official release (40 records)"


def test_release_follows_from_the_records_or_from_the_marker(tmp_path):
    assert release_of(tmp_path, 21799) == "1.0.3"
    assert release_of(tmp_path, 21837) == "1.0.1 or 1.0.2"
    folder = write_dataset(tmp_path / "data", records=3, seed=7)
    assert release_of(folder, 21799) == "synthetic (seed 7, 21799 records, format 1)"
    for text in ("[]", "{}"):
        (folder / "synthetic.json").write_text(text)
        with pytest.raises(DataError, match=r"synthetic\.json does not hold the parameters"):
            release_of(folder, 3)


@pytest.mark.parametrize(
    ("form", "sep"),
    [
        ({"sep": ";"}, ""),
        ({"sep": ";", "encoding": "utf-8-sig"}, ""),
        ({"sep": ";"}, "sep=;\n"),
        ({"sep": "\t", "encoding": "utf-16"}, ""),
        ({"sep": ";", "encoding": "latin-1"}, ""),
    ],
)
def test_tables_that_a_spreadsheet_saved_are_read(database, form, sep):
    expected = read_database(database), read_statements(database)
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        table = pd.read_csv(database / name, dtype=str, keep_default_na=False)
        table = table.rename(columns={"Unnamed: 0": ""})
        for column in ("patient_id", "age", "diagnostic"):
            if column in table:
                table[column] = table[column].str.replace(".", ",")
        if "report" in table:
            table["report"] = "Überleitung"
        table.to_csv(database / name, index=False, **form)
        if sep:
            (database / name).write_text(sep + (database / name).read_text())
    pd.testing.assert_frame_equal(read_database(database), expected[0])
    pd.testing.assert_frame_equal(read_statements(database), expected[1])


def test_table_of_a_case_is_read(shared_data):
    case = shared_data.parent / "cases" / "15_table"
    if not case.is_dir():
        pytest.skip(f"no {case}")
    assert len(read_database(case)) == 20 and len(read_statements(case)) > 20


def test_ptbxl_500_hz_files_are_read_from_their_own_column(tmp_path):
    folder = write_small_ptbxl(tmp_path / "ptb", records=20, sampling_rate=500)
    dataset = load_ptbxl(folder, sampling_rate=500)
    assert dataset.signals.shape == (20, 5000, 12)
    assert dataset.sampling_rate == 500
    with pytest.raises(DataError, match=r"00001_lr\.hea: missing"):
        load_ptbxl(folder, sampling_rate=100)
    with pytest.raises(UsageError, match="not at 250 Hz"):
        load_ptbxl(folder, sampling_rate=250)


def test_scaler_ignores_validation_and_test(database, tmp_path):
    before = fit_standardizer(load_ptbxl(database, cache_dir=tmp_path).split("train"))
    table = read_database(database)
    for name in table["filename"][table["strat_fold"] > 8]:
        write_record(database / name, np.full((1000, 12), 5000), 100)
    after = load_ptbxl(database, cache_dir=tmp_path)
    assert (after.split("test").signals[:] == 5).all()
    assert fit_standardizer(after.split("train")) == before
    with pytest.raises(UsageError, match="training split only"):
        fit_standardizer(after)


def test_flat_lead_is_a_record_like_others(database, tmp_path):
    samples = small_ecg(np.random.default_rng(1), 1000, 100)
    samples[:, 7] = 0
    write_record(database / "records100/00000/00001_lr", samples, 100)
    assert (load_ptbxl(database, cache_dir=tmp_path).signals[0, :, 7] == 0).all()


# ---------------------------------------------------------------- splits


def edit_table(folder: Path, column: str, values: dict[int, object]) -> None:
    path = folder / "ptbxl_database.csv"
    table = pd.read_csv(path, index_col="ecg_id")
    for ecg_id, value in values.items():
        table.loc[ecg_id, column] = value
    table.to_csv(path)


def test_patient_in_two_splits_is_refused(database):
    edit_table(database, "strat_fold", {2: 10})  # the other record of this patient is in fold 1
    with pytest.raises(DataError, match=r"1 patients in more than one split: .*\(patients 1000\)"):
        load_ptbxl(database)


def test_patient_in_two_training_folds_is_fine(database):
    edit_table(database, "strat_fold", {2: 5})
    assert len(load_ptbxl(database)) == 40


@pytest.mark.parametrize(("fold", "name"), [(9, "val"), (10, "test")])
def test_split_that_is_empty_is_an_error(database, fold, name):
    table = read_database(database)
    edit_table(database, "strat_fold", dict.fromkeys(table.index[table["strat_fold"] == fold], 1))
    with pytest.raises(DataError, match=rf"is in {name} \(fold {fold}\)"):
        load_ptbxl(database)


def test_ptbxl_of_one_record_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"in val \(fold 9\), test \(fold 10\); records: train 1, val 0, test 0"
    ):
        load_ptbxl(write_small_ptbxl(tmp_path / "ptb", records=1))


def test_ptbxl_equal_recordings_across_splits_are_reported_or_refused(database, caplog):
    for suffix in (".dat", ".hea"):
        source = (database / "records100/00000/00001_lr").with_suffix(suffix).read_bytes()
        target = (database / "records100/00000/00020_lr").with_suffix(suffix)  # fold 10
        target.write_bytes(source.replace(b"00001_lr", b"00020_lr"))
    dataset = load_ptbxl(database)
    assert "1 recordings occur identically in more than one split (1 = 20)" in caplog.text
    np.testing.assert_array_equal(dataset.signals[0], dataset.signals[19])
    with pytest.raises(DataError, match="1 = 20"):
        load_ptbxl(database, on_duplicates="error")


def test_class_without_training_records_is_listed(database, caplog):
    caplog.set_level("INFO")
    load_ptbxl(database, task="proto_global")
    assert "no training record has DIG, EL" in caplog.text


def test_ptbxl_wrong_options_name_the_right_ones(written):
    with pytest.raises(UsageError, match="did you mean 'superdiagnostic'"):
        load_ptbxl(written, task="superdiagnostics")
    with pytest.raises(UsageError, match="on_duplicates"):
        load_ptbxl(written, on_duplicates="ignore")
    with pytest.raises(UsageError, match="on_missing"):
        load_ptbxl(written, on_missing="ignore")


def test_summary_command(database):
    command = [sys.executable, "-W", "error", "-m", "preprocessing.summary", "--data_dir", str(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    assert rows["records"] == ["32", "4", "4"]
    assert rows["patients"] == ["16", "2", "2"]
    failed = subprocess.run([*command, "--task", "form_"], capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: unknown task 'form_' of ptbxl: did you mean 'form'?")

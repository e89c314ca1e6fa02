"""The synthetic dataset: files, anatomy of the signals, ground truth, folds."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from databases.synthetic import load_ground_truth, write_dataset
from databases.synthetic.cohort import make_cohort, plant, stratified_folds
from databases.synthetic.dataset import MARKER
from databases.synthetic.electrodes import LEAD_FIELD, decimate, twelve_leads
from databases.synthetic.heart import evaluate_beats, healthy_waves
from databases.synthetic.pathology import CLASSES, SIGNS
from databases.synthetic.scp_table import CODES, statement_table
from databases.wfdb_files import import_wfdb, to_int16, write_record
from utils.ecg import LEADS
from utils.errors import DataError, TwelveLeadError, UsageError

wfdb = import_wfdb()
INFERIOR = ["II", "III", "AVF"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("synthetic") / "data", records=100, seed=3)


@pytest.fixture(scope="module")
def table(dataset) -> pd.DataFrame:
    table = pd.read_csv(dataset / "ptbxl_database.csv", index_col="ecg_id")
    table["codes"] = table.scp_codes.map(ast.literal_eval)
    return table


@pytest.fixture(scope="module")
def signals(dataset, table) -> np.ndarray:
    raw = [np.fromfile(dataset / f"{name}.dat", "<i2").reshape(-1, 12) for name in table.filename_lr]
    return np.stack(raw) / 1000.0


def class_labels(table: pd.DataFrame, dataset: Path) -> np.ndarray:
    statements = pd.read_csv(dataset / "scp_statements.csv", index_col=0)
    superclass = statements[statements.diagnostic == 1].diagnostic_class
    return np.array([[any(superclass.get(c) == k for c in codes) for k in CLASSES] for codes in table.codes])


def tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def beat(*codes: str, severity: float = 0.9, seed: int = 1) -> dict[str, np.ndarray]:
    """One noiseless beat of 700 samples at 500 Hz, R at 275, by lead."""
    waves = healthy_waves()
    for code in codes:
        plant(waves, code, severity, np.random.default_rng(seed))
    time = np.arange(-275, 425)[None] / 500
    return dict(
        zip(LEADS, twelve_leads(evaluate_beats(waves, time, np.ones(1))[0] @ LEAD_FIELD.T).T, strict=True)
    )


# --- files


def test_wfdb_reads_what_was_written(dataset, table, signals):
    for position in (0, 57, 99):
        record = wfdb.rdrecord(str(dataset / table.filename_lr.iloc[position]))
        assert record.fs == 100 and record.sig_name == list(LEADS) and record.units == ["mV"] * 12
        np.testing.assert_array_equal(record.p_signal, signals[position])
        digital = wfdb.rdrecord(str(dataset / table.filename_lr.iloc[position]), physical=False)
        assert [c % 65536 for c in digital.calc_checksum()] == digital.checksum
        assert digital.init_value == list(digital.d_signal[0])


def test_header_is_the_official_one_byte_for_byte(shared_data, tmp_path):
    folder = shared_data / "ptbxl" / "records100" / "00000"
    samples = np.fromfile(folder / "00001_lr.dat", "<i2").reshape(-1, 12)
    write_record(tmp_path, "00001_lr", samples, 100)
    for suffix in ("hea", "dat"):
        written = (tmp_path / f"00001_lr.{suffix}").read_bytes()
        assert written.split() == (folder / f"00001_lr.{suffix}").read_bytes().split()


def test_write_record_refuses_wrong_arrays(tmp_path):
    for samples in (np.zeros((10, 12)), np.zeros((10, 11), np.int16), np.zeros((0, 12), np.int16)):
        with pytest.raises(DataError, match="record x"):
            write_record(tmp_path, "x", samples, 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 40.0, -32.768])
def test_values_that_format_16_cannot_hold_are_refused(value):
    with pytest.raises(DataError, match=r"32\.767"):
        to_int16(np.array([0.0, value]))


def test_tables_have_the_official_columns_and_order(dataset, shared_data):
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        official, ours = (pd.read_csv(f / name, nrows=3) for f in (shared_data / "ptbxl", dataset))
        assert list(ours.columns)[1:] == list(official.columns)[1:]
    official = pd.read_csv(shared_data / "ptbxl" / "scp_statements.csv", index_col=0)
    assert [code for code in official.index if code in CODES] == list(CODES)
    columns = ["diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    pd.testing.assert_frame_equal(
        statement_table()[columns], official.loc[list(CODES), columns], check_dtype=False, check_names=False
    )


def test_codes_are_in_the_statement_table(table):
    used = {code for codes in table.codes for code in codes}
    assert used <= set(CODES)
    assert {code for code, sign in SIGNS.items() if sign.superclass in CLASSES} <= set(CODES)
    likelihoods = {value for codes in table.codes for value in codes.values()}
    assert likelihoods <= {0.0, 15.0, 35.0, 50.0, 80.0, 100.0} and len(likelihoods) >= 5


def test_seed_decides_the_bytes(tmp_path):
    folders = [write_dataset(tmp_path / name, 12, seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))]
    a, b, c = map(tree_hash, folders)
    assert a == b != c


def test_rates_show_the_same_recording(tmp_path):
    folder = write_dataset(tmp_path / "data", 3, seed=1, rates=(100, 500))
    table = pd.read_csv(folder / "ptbxl_database.csv")
    for low, high in zip(table.filename_lr, table.filename_hr, strict=True):
        slow, fast = (wfdb.rdrecord(str(folder / name)) for name in (low, high))
        assert (fast.fs, fast.p_signal.shape, slow.p_signal.shape) == (500, (5000, 12), (1000, 12))
        at_100 = fast.p_signal.reshape(1000, 5, 12)[:, 0]
        for lead in range(12):
            assert np.corrcoef(at_100[:, lead], slow.p_signal[:, lead])[0, 1] > 0.97


def test_mains_hum_is_halved_at_the_band_edge_and_not_folded_into_the_band():
    time = np.arange(11 * 500) / 500
    hum = np.sin(2 * np.pi * 50 * time + np.pi / 2)[:, None]
    slow = decimate(hum, 100)[:, 0]
    spectrum = np.abs(np.fft.rfft(slow)) / len(slow)
    assert spectrum[:-5].max() < 0.01
    assert 0.4 < np.abs(slow[100:-100]).max() < 0.6


# --- signals


def test_limb_leads_obey_einthoven_and_goldberger(signals):
    i, ii, iii, avr, avl, avf = np.moveaxis(signals[..., :6], -1, 0)
    for difference in (iii - (ii - i), avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)):
        assert np.abs(difference).max() <= 0.0021


def test_normal_beat_is_what_a_textbook_shows():
    normal = beat()
    r_waves = [normal[f"V{n}"][250:310].max() for n in range(1, 6)]
    assert r_waves == sorted(r_waves)
    s_waves = [normal[f"V{n}"][250:310].min() for n in range(2, 7)]
    assert s_waves == sorted(s_waves)
    assert abs(normal["AVR"].min()) > 5 * normal["AVR"][250:310].max()
    t = slice(365, 460)
    assert all(normal[lead][t].max() > 0.08 for lead in ("I", "II", "V3", "V4", "V5", "V6"))
    assert normal["AVR"][t].min() < -0.08
    assert 0.05 < normal["II"][180:240].max() < 0.2


def test_inferior_infarction_raises_inferior_leads_and_depresses_reciprocal_ones():
    st = slice(310, 345)  # 70 to 140 ms after R
    fresh = next(b for seed in range(20) if (b := beat("IMI", seed=seed))["III"][st].mean() > 0.15)
    normal = beat()
    change = {lead: (fresh[lead] - normal[lead])[st].mean() for lead in LEADS}
    assert min(change[lead] for lead in INFERIOR) > 0.1
    assert change["III"] > change["II"]
    assert change["I"] < -0.03 and change["AVL"] < -0.1
    assert all(fresh[lead][255:275].min() < -0.15 for lead in INFERIOR)


def test_anteroseptal_infarction_takes_r_from_v1_to_v3():
    for lead in ("V1", "V2", "V3"):
        assert beat("ASMI")[lead][255:275].max() < 0.6 * beat()[lead][255:275].max()


def test_conduction_blocks_have_their_shapes():
    lbbb, rbbb, lafb = beat("CLBBB"), beat("CRBBB"), beat("LAFB")
    assert lbbb["V6"][240:310].min() > -0.05 and lbbb["V1"][240:310].min() < -0.8
    assert lbbb["V6"][380:470].min() < -0.1 and lbbb["V1"][380:470].max() > 0.1
    assert rbbb["V1"][295:325].max() > 0.3 and rbbb["V6"][295:325].min() < -0.2
    assert lafb["II"][260:300].sum() < 0 < lafb["I"][260:300].sum()
    p_normal, p_late = (int(b["II"][:255].argmax()) for b in (beat(), beat("1AVB")))
    assert (p_normal - p_late) / 500 > 0.1


def test_hypertrophy_meets_the_sokolow_lyon_voltage():
    hypertrophy, normal = (b["V5"].max() - b["V1"].min() for b in (beat("LVH"), beat()))
    assert hypertrophy > 3.5 > normal


@pytest.mark.parametrize("code", sorted(SIGNS))
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_signs_change_what_they_mark(code, severity):
    waves = healthy_waves()
    planted = plant(waves, code, severity, np.random.default_rng(0))
    marked = np.any(list(planted.visible.values()), axis=0)
    assert marked.any()
    assert set(np.array(LEADS)[marked]) <= set(SIGNS[code].leads)
    assert np.isfinite(waves.vectors).all() and (waves.widths > 0).all()


# --- ground truth


def test_ground_truth_lies_in_the_leads_and_beats_of_the_sign(dataset, table, signals):
    ids, mask, codes = load_ground_truth(dataset)
    assert ids.tolist() == table.index.tolist() and mask.shape == (100, 1000, 12) and mask.dtype == bool
    assert codes.dtype.kind == "U"
    inferior = np.flatnonzero(codes == "IMI")
    assert len(inferior)
    for position in inferior:
        leads = {LEADS[k] for k in np.flatnonzero(mask[position].any(axis=0))}
        assert set(INFERIOR) & leads and leads <= {*INFERIOR, "I", "AVL"}
        # the QRS complexes are inside the mask: the steepest sample of the record is
        steep = np.abs(np.diff(signals[position, 30:-30, 2])).argmax() + 30
        assert (
            table.codes.iloc[position].get("PVC") is not None or mask[position, steep - 2 : steep + 4].any()
        )
        assert 0.05 < mask[position].any(axis=1).mean() < 0.85
    normal = table.codes.map(lambda c: "NORM" in c).to_numpy()
    assert normal.any() and not mask[normal].any() and (codes[normal] == "").all()


def test_ground_truth_names_the_planted_codes_and_splits_by_class(dataset, table):
    ids, mask, codes = load_ground_truth(dataset)
    by_class = {k: load_ground_truth(dataset, k)[1] for k in CLASSES}
    np.testing.assert_array_equal(np.any(list(by_class.values()), axis=0), mask)
    for position in range(len(ids)):
        planted = [code for code in codes[position].split("+") if code]
        assert all(code in table.codes.iloc[position] for code in planted)
        classes = {SIGNS[code].superclass for code in planted}
        assert {k for k in CLASSES if by_class[k][position].any()} == classes


def test_ground_truth_damaged_or_absent_is_reported(dataset, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_ground_truth(tmp_path)
    whole = (dataset / "truth.npz").read_bytes()
    for damaged in (whole[:200], b"", b"hello"):
        (tmp_path / "truth.npz").write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read"):
            load_ground_truth(tmp_path)
    with pytest.raises(UsageError, match="Valid: CD"):
        load_ground_truth(dataset, "NOTHING")


# --- folds


def test_splits_have_every_class_and_separate_patients(table, dataset):
    labels = class_labels(table, dataset)
    for folds in (range(1, 9), [9], [10]):
        assert (labels[table.strat_fold.isin(folds)].sum(axis=0) > 0).all()
    assert table.groupby("patient_id").strat_fold.nunique().max() == 1
    assert table.patient_id.value_counts().max() >= 2
    assert table.strat_fold.value_counts().between(6, 14).all()


@pytest.mark.parametrize("records", [20, 100])
@pytest.mark.parametrize("seed", range(4))
def test_datasets_that_are_small_have_every_class_where_it_is_scored(records, seed):
    cohort = make_cohort(np.random.default_rng(seed), records)
    assert sum(patient.records for patient in cohort) == records
    for fold in (9, 10):
        assert {name for patient in cohort if patient.fold == fold for name in patient.profile} == set(
            CLASSES
        )


@given(
    profiles=st.lists(
        st.sampled_from([(), ("NORM",), ("MI",), ("MI", "STTC"), ("CD",), ("HYP", "STTC")]),
        min_size=1,
        max_size=80,
    ),
    seed=st.integers(0, 1000),
)
def test_folds_are_balanced(profiles, seed):
    folds = np.array(stratified_folds(np.random.default_rng(seed), profiles, [1] * len(profiles)))
    assert folds.min() >= 1 and folds.max() <= 10
    for name in CLASSES:
        per_fold = np.bincount(folds[[name in p for p in profiles]], minlength=11)[1:]
        assert per_fold.max() - per_fold.min() <= 3


# --- learnability


def test_classifier_that_is_simple_beats_chance_and_is_not_perfect(dataset, table, signals):
    """Mean and spread of each lead are enough to be better than chance, and not enough for certainty."""
    labels = class_labels(table, dataset)
    features = np.hstack([signals.std(axis=1), *np.percentile(signals, [1, 10, 90, 99], axis=1)])
    folds = PredefinedSplit(table.strat_fold.to_numpy())
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = [
        roc_auc_score(y, cross_val_predict(model, features, y, cv=folds, method="predict_proba")[:, 1])
        for y in labels.T
    ]
    assert min(scores) > 0.6 and max(scores) < 0.99, dict(zip(CLASSES, scores, strict=True))


# --- writing


def test_dataset_is_replaced_only_for_other_parameters(tmp_path):
    folder = write_dataset(tmp_path / "data", 3)
    stamp = (folder / MARKER).stat().st_mtime_ns
    (folder / ".cache").mkdir()
    write_dataset(folder, 3)
    assert (folder / MARKER).stat().st_mtime_ns == stamp and (folder / ".cache").exists()
    write_dataset(folder, 4)
    assert len(pd.read_csv(folder / "ptbxl_database.csv")) == 4
    (folder / "truth.npz").unlink()  # incomplete: written again
    write_dataset(folder, 4)
    assert load_ground_truth(folder)[1].shape == (4, 1000, 12)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_dataset_never_overwrites_files_of_others(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_dataset(tmp_path, 2)
    folder = write_dataset(tmp_path / "data", 2)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_dataset(folder, 3)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="is a file"):
        write_dataset(folder / "notes.txt", 3)


def test_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder = write_dataset(tmp_path / "data", 2)
    before = tree_hash(folder)
    monkeypatch.setattr("databases.synthetic.dataset.write_record", full)
    with pytest.raises(Exception, match="No space left on device") as caught:
        write_dataset(folder, 3)
    assert type(caught.value).__name__ == "TwelveLeadError"
    assert [p.name for p in tmp_path.iterdir()] == ["data"] and tree_hash(folder) == before


def test_mount_point_is_named_as_the_reason(tmp_path, monkeypatch):
    folder = write_dataset(tmp_path / "data", 2)
    monkeypatch.setattr(Path, "rename", Mock(side_effect=OSError(16, "Device or resource busy")))
    with pytest.raises(TwelveLeadError, match=r"mount point cannot be replaced: choose .*data/synthetic"):
        write_dataset(folder, 3)
    assert len(pd.read_csv(folder / "ptbxl_database.csv")) == 2


@pytest.mark.parametrize("bad", [{"records": 0}, {"seed": -1}, {"rates": (250,)}, {"rates": ()}])
def test_parameters_that_are_impossible_are_refused(tmp_path, bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        write_dataset(tmp_path / "data", **bad)


@pytest.mark.parametrize("records", [1, 2])
def test_tiny_datasets_work(tmp_path, records):
    ecg_ids, _, _ = load_ground_truth(write_dataset(tmp_path / "data", records))
    assert ecg_ids.tolist() == list(range(1, records + 1))


def test_command_line(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "databases.synthetic", "--to", str(tmp_path / "data"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])

    first = run("--records", "3", "--rates", "100", "500")
    assert first.returncode == 0 and "wrote 3 records at 100 and 500 Hz" in first.stdout
    assert len(list((tmp_path / "data").rglob("*.hea"))) == 6
    assert "already there" in run("--records", "3", "--rates", "500", "100").stdout
    (tmp_path / "data" / MARKER).unlink()
    refused = run("--records", "3")
    assert refused.returncode == 2 and "error:" in refused.stderr and "Traceback" not in refused.stderr

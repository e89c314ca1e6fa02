"""What single databases promise beyond the contract: labels, rhythms, wave boundaries, subjects."""

import numpy as np
import pandas as pd
import pytest
import scipy.io

from databases import open_database
from databases.snomed import EQUIVALENT_2020, EQUIVALENT_2021, SCORED, abbreviate, scored_classes
from tests.helpers.database_files import WRITERS
from utils.errors import DataError, UsageError


@pytest.fixture
def written(tmp_path):
    """Open a database of which files were written."""

    def write(name):
        WRITERS[name](tmp_path / name)
        return open_database(name, tmp_path / name)

    return write


# --- written in the database's own layout -----------------------------------------------------------------


def test_afdb_prefers_corrected_beats_and_leaves_out_records_without_signal(written):
    database = written("afdb")
    assert database.records.index.tolist() == ["04015", "04043"]
    assert database.annotations("04015").beats.symbols.tolist() == ["N", "N"]
    assert database.annotations("04043").beats.symbols.tolist() == ["N", "V", "N"]
    rhythms = database.annotations("04015").rhythms
    assert list(zip(*(column.tolist() for column in rhythms), strict=True)) == [
        (0, 400, "N"),
        (400, 1000, "AFIB"),
    ]


def test_apnea_ecg_merges_minutes_and_keeps_respiration_apart(written):
    database = written("apnea_ecg")
    assert database.records.index.tolist() == ["a01", "x01"]
    assert database.records["split"].tolist() == ["train", "test"]
    rhythms = database.annotations("a01").rhythms
    assert list(zip(*(column.tolist() for column in rhythms), strict=True)) == [
        (0, 6000, "N"),
        (6000, 18000, "A"),
    ]
    assert len(database.annotations("x01").rhythms.name) == 0


def test_cinc2018_reads_voltages_stages_and_arousals(written):
    database = written("cinc2018")
    assert database.records["split"].to_dict() == {"te03-0001": "test", "tr03-0005": "train"}
    recording = database.read("tr03-0005")
    assert recording.leads == ("F3-M2", "ECG")  # oxygen saturation is not a voltage
    np.testing.assert_allclose(recording.signal[100], [0.1, 0.1], rtol=1e-6)  # 100 uV and 0.1 mV
    rhythms = database.annotations("tr03-0005").rhythms
    assert list(zip(*(column.tolist() for column in rhythms), strict=True)) == [
        (1, 600, "W"),
        (600, 1600, "N1"),
        (700, 900, "arousal_rera"),
    ]


def test_cinc2020_reads_subjects_codes_and_rates(written):
    database = written("cinc2020")
    row = database.row("E00001")
    assert (row["age"], row["sex"], row["source"]) == (78, "F", "Georgia")
    assert row["codes"] == ("426783006", "59118001", "55827005")
    # right bundle branch block is scored as the complete one, and the third code is not scored
    assert list(database.annotations("E00001").statements) == ["NSR", "CRBBB", "55827005"]
    assert database.read("S0001").sampling_rate == database.row("S0001")["sampling_rate"] == 1000
    assert np.isnan(database.row("S0001")["age"]) and database.row("S0001")["sex"] == ""


def test_cpsc2020_gives_premature_beats_in_order(written):
    beats = written("cpsc2020").annotations("A01").beats
    assert beats.samples.tolist() == [300, 900, 1200] and beats.symbols.tolist() == ["V", "S", "S"]


def test_ptbxl_plus_gives_features_by_ecg(written):
    database = written("ptbxl_plus")
    assert database.records.index.tolist() == ["12sl/00001", "unig/00001"]
    assert database.features("12sl").loc[1, "QT_Int_Global"] == 388
    with pytest.raises(UsageError, match=r"unknown program '12s'.*12sl"):
        database.features("12s")


def test_shhs_says_how_to_get_access(tmp_path):
    with pytest.raises(UsageError, match="sign the data use agreement"):
        open_database("shhs", tmp_path).download(tmp_path)
    with pytest.raises(DataError, match="sign the data use agreement"):
        _ = open_database("shhs", tmp_path).records


# --- real records -----------------------------------------------------------------------------------------


def test_cinc2017_gives_labels(shared_data):
    database = open_database("cinc2017", shared_data / "cinc2017")
    labels = [next(iter(database.annotations(record).statements)) for record in database.records.index]
    assert pd.Series(labels).value_counts().to_dict() == {"N": 50, "A": 50, "O": 50, "~": 50}


def test_cinc2021_knows_sources_and_rates(shared_data):
    records = open_database("cinc2021", shared_data / "cinc2021").records
    assert set(records["source"]) == {"Georgia", "PTB-XL", "Chapman-Shaoxing and Ningbo", "CPSC 2018", "PTB"}
    assert set(records.loc[records["source"] == "PTB", "sampling_rate"]) == {1000}
    ptb = open_database("cinc2021", shared_data / "cinc2021").read("S0002")  # its header states a wrong gain
    assert 1 < np.ptp(ptb.signal[:, 1]) < 10 and "2,000 was taken" in ptb.notes[-1]
    assert records["age"].between(0, 100).sum() > 40


def test_cpsc2018_gives_subjects_and_classes(shared_data, tmp_path):
    database = open_database("cpsc2018", shared_data / "cpsc2018")
    assert database.subject("A1983") == {"age": 49, "sex": "M"}
    (tmp_path / "A1983.mat").write_bytes((shared_data / "cpsc2018" / "A1983.mat").read_bytes())
    table = "Recording,First_label,Second_label,Third_label\nA1983,2,5,\n"
    (tmp_path / "REFERENCE.csv").write_text(table)
    assert list(open_database("cpsc2018", tmp_path).annotations("A1983").statements) == ["AF", "RBBB"]
    (tmp_path / "REFERENCE.csv").write_text(table.replace("2,5", "2,10"))
    with pytest.raises(DataError, match="record A1983 has the class 10"):
        open_database("cpsc2018", tmp_path).annotations("A1983")


def test_cpsc2019_gives_r_peaks(shared_data):
    database = open_database("cpsc2019", shared_data / "cpsc2019")
    peaks = [database.annotations(record).beats.samples for record in database.records.index]
    assert sum(map(len, peaks)) == 775
    np.testing.assert_array_equal(peaks[0][:3], [282, 656, 1035])


def test_cpsc2021_gives_labels_patients_and_episodes(shared_data):
    database = open_database("cpsc2021", shared_data / "cpsc2021")
    row = database.row("data_84_1")
    assert (row["patient"], row["label"]) == ("84", "AFf")
    rhythms = database.annotations("data_84_1").rhythms
    assert rhythms.name.tolist() == ["AFIB", "N"]  # the last beat ends the episode
    assert rhythms.end.tolist() == [row["samples"] - 1, row["samples"]]


def test_nstdb_gives_the_noise_level(shared_data):
    records = open_database("nstdb", shared_data / "nstdb").records
    assert records["snr_db"].to_dict() == {"118e06": 6, "118e24": 24}
    assert set(records["patient"]) == {"118"}


def test_qtdb_gives_waves_of_cardiologists_and_programs(shared_data):
    database = open_database("qtdb", shared_data / "qtdb")
    waves = database.annotations("sel100").waves
    assert {kind: (waves.kind == kind).sum() for kind in ("P", "QRS", "T")} == {"P": 30, "QRS": 30, "T": 30}
    assert set(waves.lead) == {""} and (waves.offset[waves.kind == "T"] > 0).all()
    automatic = database.waves("sel100", "pu1")
    assert set(automatic.lead) == {"V5"} and len(automatic.kind) > 3000
    assert len(database.waves("sel803", "q2c").kind) == 0
    with pytest.raises(UsageError, match="unknown annotator 'q3c'"):
        database.waves("sel100", "q3c")


# --- damage and codes -------------------------------------------------------------------------------------


def test_label_and_source_that_are_unknown_are_named(shared_data, tmp_path, written):
    (tmp_path / "REFERENCE-v3.csv").write_text("A00001,N\nA00002,X\n")
    with pytest.raises(DataError, match="record A00002 has the label 'X'"):
        _ = open_database("cinc2017", tmp_path).labels
    database = written("cinc2020")
    part = database.root / "training" / "ptb" / "g1"
    (part / "Z0001.hea").write_text((part / "S0001.hea").read_text())
    with pytest.raises(DataError, match=r"Z0001.*is of no source of cinc2020"):
        _ = database.records


def test_mat_file_that_is_damaged_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "data_00001.mat"
    database = open_database("cpsc2019", tmp_path)
    for content in (b"", b"MATLAB 5.0 MAT-file" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data_00001\.mat: not a readable MATLAB file"):
            database.read("data_00001")
    scipy.io.savemat(path, {"egc": np.zeros((10, 1))})
    with pytest.raises(DataError, match="has no variable 'ecg'"):
        database.read("data_00001")


def test_scored_classes_have_their_published_number():
    assert len(SCORED) == 30
    assert len(scored_classes(2020)) == 24 and len(scored_classes(2021)) == 26
    assert set(EQUIVALENT_2020) < set(EQUIVALENT_2021) < set(SCORED)
    assert abbreviate("164909002", 2020) == "LBBB" and abbreviate("164909002", 2021) == "CLBBB"
    assert abbreviate("6374002", 2020) == "6374002" and abbreviate("6374002", 2021) == "BBB"

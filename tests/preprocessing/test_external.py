"""Your own ECG: every format gives the same record."""

import re

import numpy as np
import pytest
import scipy.io

from databases.wfdb_files import import_wfdb
from preprocessing.recordings.ecg_csv import read_csv
from preprocessing.recordings.external import find_recordings, prepare, read_recording
from preprocessing.recordings.lead_names import lead_name
from preprocessing.transforms.resample import resample
from tests.helpers.ecg_files import SIGNALS, has_note, quiet_write, write_csv, write_edf, write_wfdb
from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError, UsageError

wfdb = import_wfdb()


def read_all(folder, signals, rate):
    """The same signals through every format."""
    time = ("time_s", np.arange(len(signals)) / rate)
    np.save(folder / "a.npy", signals.astype(np.float32))
    np.save(folder / "b.npy", signals.T)
    scipy.io.savemat(folder / "c.mat", {"val": np.round(signals.T * 1000).astype(np.int16)})
    return [
        read_recording(write_wfdb(folder, signals, rate=rate)),
        read_recording(write_csv(folder / "a.csv", signals, time=time, digits=4)),
        read_recording(folder / "a.npy", sampling_rate=rate),
        read_recording(folder / "b.npy", sampling_rate=rate, units="mV"),
        read_recording(folder / "c.mat", sampling_rate=rate, units="uV"),
        read_recording(write_edf(folder / "a.edf", signals, rate=rate)),
    ]


def test_formats_give_the_same_record(tmp_path):
    for recording in read_all(tmp_path, SIGNALS, 500):
        assert recording.signal.dtype == np.float32
        assert recording.sampling_rate == 500
        np.testing.assert_allclose(recording.signal, SIGNALS, atol=0.00051)
        assert has_note(recording, "identities hold")
        assert all(note.endswith(".") for note in recording.notes)


def test_formats_give_the_same_real_record(shared_data, tmp_path):
    real = read_recording(shared_data / "sample" / "04827_lr")
    digital = np.fromfile(shared_data / "sample" / "04827_lr.dat", "<i2").reshape(-1, 12)
    np.testing.assert_array_equal(real.signal, (digital / 1000).astype(np.float32))
    limb = digital[:, :6].astype(float)
    worst = np.abs(limb[:, 2] - (limb[:, 1] - limb[:, 0])).max()
    assert worst <= 1.5  # uV
    for recording in read_all(tmp_path, real.signal.astype(np.float64), 100):
        np.testing.assert_allclose(recording.signal, real.signal, atol=0.00051)


@pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
def test_wfdb_record_with_and_without_ending(tmp_path, ending):
    write_wfdb(tmp_path)
    recording = read_recording(tmp_path / f"rec{ending}")
    assert recording.name == "rec"
    assert has_note(recording, "Checksums of 12 of 12 signals verified")


@pytest.mark.parametrize(
    ("fmt", "gain"), [("16", 200.0), ("212", 400.0), ("32", 1e6), ("24", 5000.0), ("80", 60.0)]
)
def test_wfdb_formats_gains_units(tmp_path, fmt, gain):
    path = write_wfdb(tmp_path, fmt=fmt, gain=gain)
    np.testing.assert_allclose(read_recording(path).signal, SIGNALS, atol=0.51 / gain + 1e-6)


def test_wfdb_microvolts_and_other_lead_order(tmp_path):
    order = np.array([6, 7, 8, 9, 10, 11, 4, 0, 3, 1, 5, 2])
    names = [DISPLAY_NAMES[i].lower() for i in order]
    path = write_wfdb(tmp_path, SIGNALS[:, order] * 1000, names, gain=1.0, units="uV")
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, r"Units in the file \(uV\) were converted to mV")
    assert has_note(recording, "brought from the order of the file")


def test_wfdb_without_gain_and_unit_names_the_defaults(tmp_path):
    path = write_wfdb(tmp_path, gain=200.0)
    path.write_text(
        re.sub(r"200\.0\(0\)/mV 16 0 (-?\d+) (\d+) 0 (\S+)", r"0 16 0 \1 \2 0 \3", path.read_text())
    )
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=0.003)
    assert has_note(recording, "no gain for some signals: 200 units per mV")
    assert has_note(recording, "no unit for some signals: mV")


def test_wfdb_multi_frequency(tmp_path):
    """V6 and a breathing channel have half the frames' rate; V6 is brought up, the other is left out."""
    rng = np.random.default_rng(0)
    digital = [np.round(SIGNALS[:, i] * 1000).astype(np.int64) for i in range(12)]
    digital[11] = digital[11][::2]
    digital.append(rng.integers(-100, 100, 2500))
    record = wfdb.Record(
        record_name="multi",
        n_sig=13,
        fs=250,
        sig_len=2500,
        samps_per_frame=[2] * 11 + [1, 1],
        file_name=["multi.dat"] * 13,
        fmt=["16"] * 13,
        adc_gain=[1000.0] * 13,
        baseline=[0] * 13,
        units=["mV"] * 13,
        sig_name=[*DISPLAY_NAMES, "RESP"],
        adc_res=[16] * 13,
        adc_zero=[0] * 13,
        init_value=[int(d[0]) for d in digital],
        checksum=[int(d.sum() % 65536) for d in digital],
        block_size=[0] * 13,
        e_d_signal=digital,
    )
    quiet_write(record.wrsamp, expanded=True, write_dir=str(tmp_path))
    recording = read_recording(tmp_path / "multi")
    assert recording.sampling_rate == 500
    np.testing.assert_allclose(recording.signal[:, :11], SIGNALS[:, :11], atol=0.0006)
    np.testing.assert_allclose(recording.signal[100:-100, 11], SIGNALS[100:-100, 11], atol=0.02)
    assert has_note(recording, "brought to 500 Hz: V6")
    assert has_note(recording, "ignored: RESP")


def test_gain_option_replaces_the_gains_of_a_header(tmp_path):
    """Headers whose gains scale every lead by itself contradict Einthoven; the stored integers do not."""
    path = write_wfdb(tmp_path)
    text = path.read_text()
    for gain in ("650", "1100", "870", "720", "1300", "990"):
        text = text.replace("1000.0(0)/mV", f"{gain}(0)/mV", 1)
    path.write_text(text)
    with pytest.raises(DataError, match=r"integers in the file agree: try --units 1000/mV\. They .* by I "):
        read_recording(path)
    exchanged = path.read_text().replace("0 aVR", "0 x").replace("0 aVL", "0 aVR").replace("0 x", "0 aVL")
    (tmp_path / "exchanged.hea").write_text(exchanged.replace("rec 12", "exchanged 12"))
    with pytest.raises(DataError, match="contradict each other") as error:
        read_recording(tmp_path / "exchanged")
    assert "integers" not in str(error.value)
    recording = read_recording(path, units="1000/mV")
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=0.00051)
    assert has_note(recording, r"Gain 1000 ADC units per mV as given with --units")


@pytest.mark.parametrize(
    "names",
    [
        DISPLAY_NAMES,
        [n.lower() for n in LEADS],
        [f"Lead {n}" for n in DISPLAY_NAMES],
        [f"lead_{n}" for n in DISPLAY_NAMES],
        [f"MDC_ECG_LEAD_{n}" for n in DISPLAY_NAMES],
        [f"ECG {n}" for n in DISPLAY_NAMES],
        [f"{n} (mV)" for n in DISPLAY_NAMES],
        [f"lead{i}" for i in range(1, 13)],
    ],
    ids=lambda names: names[1],
)
def test_csv_lead_names(tmp_path, names):
    recording = read_recording(write_csv(tmp_path / "x.csv", names=names), sampling_rate=500)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "numbered, not named: the order I, II") == (names[0] == "lead1")
    assert has_note(recording, "Units not given: mV assumed because") == ("(mV)" not in names[0])


@pytest.mark.parametrize(
    "name",
    ["-aVR", "V7", "", "Lead -aVR", "lead1", "VI", "aVRR", "V3R", "-V1", "I-II", "I-I", "V1-V2", "L-F"],
)
def test_lead_names_that_are_not_standard(name):
    assert lead_name(name) is None


@pytest.mark.parametrize(
    ("delimiter", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", ","), ("\t", ".")]
)
def test_csv_delimiters(tmp_path, delimiter, decimal):
    time = ("t", np.arange(5000) / 500)
    path = write_csv(tmp_path / "x.csv", time=time, delimiter=delimiter, decimal=decimal)
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "Decimal commas") == (decimal == ",")


@pytest.mark.parametrize(
    ("name", "times", "rate"),
    [
        ("time", np.arange(5000) * 0.002, 500),
        ("Time (ms)", np.arange(5000) * 2.0, 500),
        ("time_ms", np.arange(5000) * 1.0, 1000),
        ("timestamp", 1.7e12 + np.arange(5000) * 4.0, 250),
        ("seconds", np.round(np.arange(5000) / 360, 3), 360),
    ],
)
def test_csv_rate_from_the_time_column(tmp_path, name, times, rate):
    recording = read_recording(write_csv(tmp_path / "x.csv", time=(name, times)))
    assert recording.sampling_rate == rate
    assert has_note(recording, f"{rate} Hz follows from the column")


def test_csv_times_in_doubt_give_way_to_the_rate_given(tmp_path):
    path = write_csv(tmp_path / "x.csv", time=("time", np.arange(5000.0)))
    recording = read_recording(path, sampling_rate=500)
    assert recording.sampling_rate == 500
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "'time' was not used .* a step of 1 may be seconds, milliseconds or a sample")
    assert has_note(recording, "500 Hz as given with --sampling_rate")


def test_csv_iso_dates(tmp_path):
    path = write_csv(tmp_path / "x.csv", SIGNALS[:20])
    lines = path.read_text().splitlines()
    stamps = ["timestamp"] + [f"2024-05-01T12:00:00.{4 * i:03d}" for i in range(20)]
    path.write_text("\n".join(f"{a},{b}" for a, b in zip(stamps, lines, strict=True)))
    assert read_csv(path).channels[0].rate == 250
    with pytest.raises(DataError, match="is flat"):  # 80 ms before the first beat
        read_recording(path)


def test_csv_micro_sign_in_latin_1(tmp_path):
    path = write_csv(tmp_path / "x.csv", SIGNALS * 1000, [f"{n} [µV]" for n in DISPLAY_NAMES])
    path.write_bytes(path.read_text().encode("latin-1"))
    np.testing.assert_allclose(read_recording(path, sampling_rate=500).signal, SIGNALS, atol=1e-6)


def test_edf_in_microvolts(tmp_path):
    path = write_edf(tmp_path / "x.edf", SIGNALS * 1000, unit="uV")
    np.testing.assert_allclose(read_recording(path).signal, SIGNALS, atol=0.0006)


def test_mat_of_cpsc_2018(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"ECG": {"sex": "Male", "age": 52, "data": SIGNALS.T}})
    recording = read_recording(tmp_path / "x.mat", sampling_rate=500)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "names no leads: the order I, II, III")


def test_leads_i_ii_and_v1_to_v6_are_complete(tmp_path):
    keep = [0, 1, *range(6, 12)]
    path = write_csv(tmp_path / "x.csv", SIGNALS[:, keep], [DISPLAY_NAMES[i] for i in keep])
    recording = read_recording(path, sampling_rate=500)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=0.0011)
    assert has_note(recording, "Derived exactly from I and II.*: III, aVR, aVL, aVF")
    np.save(tmp_path / "x.npy", SIGNALS[:, keep])
    again = read_recording(tmp_path / "x.npy", sampling_rate=500, leads="I,II,V1,V2,V3,V4,V5,V6")
    np.testing.assert_allclose(again.signal, recording.signal, atol=1e-6)


def test_leads_option_names_and_leaves_out(tmp_path):
    names = [f"ch{i}" for i in range(13)]
    path = write_csv(tmp_path / "x.csv", np.column_stack([SIGNALS, SIGNALS[:, 0]]), names)
    recording = read_recording(path, sampling_rate=500, leads=[*DISPLAY_NAMES, "-"])
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    with pytest.raises(UsageError, match="names 12 channels, but there are 13"):
        read_recording(path, sampling_rate=500, leads=DISPLAY_NAMES)
    with pytest.raises(UsageError, match="'V66' is not a lead: did you mean 'V6'"):
        read_recording(path, sampling_rate=500, leads=[*DISPLAY_NAMES[:-1], "V66", "-"])


def test_resampled_500_hz_agrees_with_the_official_100_hz(shared_data):
    """PTB-XL's own 100 Hz files lie 1.25 ms ahead (5 samples at 4000 Hz) and have artifacts at their ends."""
    inner, plain, aligned, rms = slice(20, -20), [], [], []
    paths = sorted((shared_data / "ptbxl" / "records500").glob("*/*.hea"))[::6]
    assert len(paths) >= 10
    for path in paths:
        fast = read_recording(path)
        low = path.parents[2] / "records100" / path.parent.name / path.name.replace("_hr", "_lr")
        official = read_recording(low).signal[inner]
        result = prepare(fast, 100, 1000).signal[inner]
        plain.append(np.corrcoef(result.ravel(), official.ravel())[0, 1])
        shifted = resample(resample(fast.signal, 500, 4000)[5:], 4000, 100)[inner]
        aligned.append(np.corrcoef(shifted.ravel(), official.ravel())[0, 1])
        rms.append(1000 * np.sqrt(np.mean((shifted - official) ** 2)))
    print(f"correlation {min(plain):.4f}, aligned {min(aligned):.4f}, RMS {np.mean(rms):.1f} uV aligned")
    assert min(plain) > 0.99
    assert min(aligned) > 0.998
    assert max(rms) < 12


def test_recordings_of_other_databases_are_read(shared_data):
    chapman = prepare(read_recording(shared_data / "cinc2021" / "JS20000.mat"), 100, 1000)
    assert chapman.signal.shape == (1000, 12)
    assert has_note(chapman, "Checksums of 12 of 12")
    with pytest.raises(DataError, match=r"lead I, II.* missing; the channels are: MLII, V5"):
        read_recording(shared_data / "mitdb" / "100")
    with pytest.raises(DataError, match="too small for an ECG"):  # gain 1000 times too high in its header
        read_recording(shared_data / "cinc2021" / "S0002")
    assert has_note(read_recording(shared_data / "cinc2021" / "S0002", units="2000/mV"), "identities hold")
    with pytest.raises(
        DataError, match="file agree: try --units 1000/mV"
    ):  # every lead normalized to 1 mV by its gain
        read_recording(shared_data / "ludb" / "data" / "1")
    assert has_note(read_recording(shared_data / "ludb" / "data" / "1", units="1000/mV"), "identities hold")
    mat = read_recording(shared_data / "cpsc2018" / "A1980.mat", sampling_rate=500)
    assert has_note(mat, "mV assumed because the median peak-to-peak is 1.4 mV")


def test_mat_alone_reads_as_the_record_it_came_from(shared_data, tmp_path):
    record = read_recording(shared_data / "cinc2021" / "A0001")
    (tmp_path / "A0001.mat").write_bytes((shared_data / "cinc2021" / "A0001.mat").read_bytes())
    alone = read_recording(tmp_path / "A0001.mat", sampling_rate=500, units="1000/mV")
    np.testing.assert_array_equal(alone.signal, record.signal)


def test_search_finds_recordings(tmp_path):
    header = write_wfdb(tmp_path, SIGNALS[:600])
    (tmp_path / "sub").mkdir()
    write_wfdb(tmp_path / "sub", SIGNALS[:600], name="cinc")
    (tmp_path / "sub" / "cinc.mat").write_bytes(b"")  # the signal file of a CinC record
    write_csv(tmp_path / "a.csv", SIGNALS[:10])
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    assert find_recordings(tmp_path) == [tmp_path / "a.csv", header, tmp_path / "sub" / "cinc.hea"]
    assert find_recordings(tmp_path / "rec") == [header] == find_recordings(str(tmp_path / "rec.dat"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no recording in this folder"):
        find_recordings(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        find_recordings(tmp_path / "nothing")

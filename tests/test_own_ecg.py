"""Your own ECG: every format gives the same record, and bad input is named, never repaired in silence."""

import re
import warnings

import edfio
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing.ecg_channels import lead_name
from preprocessing.ecg_csv import read_csv
from preprocessing.ecg_files import _wfdb
from preprocessing.limb_leads import derive_limb_leads, explain_violation, identity_residuals
from preprocessing.own_ecg import Recording, find_recordings, prepare, read_recording
from preprocessing.resample import resample
from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError, TwelveLeadError, UsageError

wfdb = _wfdb()


def make_signals(rate: float = 500, seconds: float = 10) -> np.ndarray:
    """A smooth 12-lead ECG in mV, (T, 12): 72 beats a minute, limb leads from I and II, in whole uV."""
    phase = (np.arange(round(seconds * rate)) / rate * 1.2) % 1.0

    def wave(centre, width, height):
        return height * np.exp(-0.5 * ((phase - centre) / width) ** 2)

    lead_i = wave(0.2, 0.03, 0.1) + wave(0.4, 0.012, 0.7) - wave(0.43, 0.012, 0.1) + wave(0.7, 0.05, 0.2)
    lead_ii = wave(0.2, 0.03, 0.16) + wave(0.41, 0.014, 1.1) - wave(0.38, 0.008, 0.15) + wave(0.71, 0.05, 0.3)
    chest = [
        wave(0.4, 0.01, r) - wave(0.43, 0.015, s) + wave(0.7, 0.05, 0.3)
        for r, s in zip((0.2, 0.5, 0.8, 1.2, 1.3, 1.0), (1.0, 1.4, 1.0, 0.6, 0.3, 0.1), strict=True)
    ]
    leads = {"I": lead_i, "II": lead_ii} | derive_limb_leads(lead_i, lead_ii)
    return np.round(np.stack([leads[k] for k in LEADS[:6]] + chest, axis=1), 3)


SIGNALS = make_signals()


def write_csv(path, signals=SIGNALS, names=DISPLAY_NAMES, time=None, delimiter=",", decimal=".", digits=3):
    header, columns = list(names), signals
    if time is not None:
        header, columns = [time[0], *header], np.column_stack([time[1], signals])
    lines = [delimiter.join(header)]
    lines += [delimiter.join(f"{v:.{digits}f}" for v in row) for row in columns]
    path.write_text("\n".join([lines[0]] + [line.replace(".", decimal) for line in lines[1:]]) + "\n")
    return path


def quiet_write(write, *args, **kwargs):
    """wfdb 4.3 writes (but does not read) by calls that pandas 3.1 deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        write(*args, **kwargs)


def write_wfdb(
    folder, signals=SIGNALS, names=DISPLAY_NAMES, rate=500, fmt="16", gain=1000.0, units="mV", name="rec"
):
    count = signals.shape[1]
    quiet_write(
        wfdb.wrsamp,
        name,
        fs=rate,
        units=[units] * count,
        sig_name=list(names),
        p_signal=np.asarray(signals, np.float64),
        fmt=[fmt] * count,
        adc_gain=[gain] * count,
        baseline=[0] * count,
        write_dir=str(folder),
    )
    return folder / f"{name}.hea"


def write_edf(path, signals=SIGNALS, names=DISPLAY_NAMES, rate=500, unit="mV", rates=None):
    channels = [
        edfio.EdfSignal(
            np.asarray(signals)[:, i],
            (rates or {}).get(name, rate),
            label=f"ECG {name}",
            physical_dimension=unit,
            physical_range=(-32.768, 32.767) if unit == "mV" else (-32768, 32767),
        )
        for i, name in enumerate(names)
    ]
    edfio.Edf(channels, annotations=[edfio.EdfAnnotation(1.0, None, "start")]).write(path)
    return path


def has_note(recording, pattern):
    return any(re.search(pattern, note) for note in recording.notes)


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


# --- formats ---


def test_every_format_gives_the_same_record(tmp_path):
    for recording in read_all(tmp_path, SIGNALS, 500):
        assert recording.signals.dtype == np.float32
        assert recording.sampling_rate == 500
        np.testing.assert_allclose(recording.signals, SIGNALS, atol=0.00051)
        assert has_note(recording, "identities hold")
        assert all(note.endswith(".") for note in recording.notes)


def test_every_format_gives_the_same_record_on_a_real_one(shared_data, tmp_path):
    real = read_recording(shared_data / "sample" / "04827_lr")
    digital = np.fromfile(shared_data / "sample" / "04827_lr.dat", "<i2").reshape(-1, 12)
    np.testing.assert_array_equal(real.signals, (digital / 1000).astype(np.float32))
    limb = digital[:, :6].astype(float)
    worst = np.abs(limb[:, 2] - (limb[:, 1] - limb[:, 0])).max()
    assert worst <= 1.5  # uV
    for recording in read_all(tmp_path, real.signals.astype(np.float64), 100):
        np.testing.assert_allclose(recording.signals, real.signals, atol=0.00051)


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
    np.testing.assert_allclose(read_recording(path).signals, SIGNALS, atol=0.51 / gain + 1e-6)


def test_wfdb_microvolts_and_other_lead_order(tmp_path):
    order = np.array([6, 7, 8, 9, 10, 11, 4, 0, 3, 1, 5, 2])
    names = [DISPLAY_NAMES[i].lower() for i in order]
    path = write_wfdb(tmp_path, SIGNALS[:, order] * 1000, names, gain=1.0, units="uV")
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=1e-6)
    assert has_note(recording, r"Units in the file \(uV\) were converted to mV")
    assert has_note(recording, "brought from the order of the file")


def test_wfdb_without_gain_and_unit_names_the_defaults(tmp_path):
    path = write_wfdb(tmp_path, gain=200.0)
    path.write_text(
        re.sub(r"200\.0\(0\)/mV 16 0 (-?\d+) (\d+) 0 (\S+)", r"0 16 0 \1 \2 0 \3", path.read_text())
    )
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=0.003)
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
    np.testing.assert_allclose(recording.signals[:, :11], SIGNALS[:, :11], atol=0.0006)
    np.testing.assert_allclose(recording.signals[100:-100, 11], SIGNALS[100:-100, 11], atol=0.02)
    assert has_note(recording, "brought to 500 Hz: V6")
    assert has_note(recording, "ignored: RESP")


def test_gain_option_replaces_the_gains_of_a_header(tmp_path):
    """Headers whose gains scale every lead by itself contradict Einthoven; the stored integers do not."""
    path = write_wfdb(tmp_path)
    text = path.read_text()
    for gain in ("650", "1100", "870", "720", "1300", "990"):
        text = text.replace("1000.0(0)/mV", f"{gain}(0)/mV", 1)
    path.write_text(text)
    with pytest.raises(DataError, match=r"scaled one by one: multiplied by I .*--units"):
        read_recording(path)
    recording = read_recording(path, units="1000/mV")
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=0.00051)
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
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=1e-6)
    assert has_note(recording, "numbered, not named: the order I, II") == (names[0] == "lead1")
    assert has_note(recording, "Units not given: mV assumed because") == ("(mV)" not in names[0])


@pytest.mark.parametrize("name", ["-aVR", "MLII", "V7", "", "Lead -aVR", "lead1", "VI", "aVRR"])
def test_names_that_are_no_standard_lead(name):
    assert lead_name(name) is None


@pytest.mark.parametrize(
    ("delimiter", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", ","), ("\t", ".")]
)
def test_csv_delimiters(tmp_path, delimiter, decimal):
    time = ("t", np.arange(5000) / 500)
    path = write_csv(tmp_path / "x.csv", time=time, delimiter=delimiter, decimal=decimal)
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=1e-6)
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
    np.testing.assert_allclose(read_recording(path, sampling_rate=500).signals, SIGNALS, atol=1e-6)


def test_edf_in_microvolts(tmp_path):
    path = write_edf(tmp_path / "x.edf", SIGNALS * 1000, unit="uV")
    np.testing.assert_allclose(read_recording(path).signals, SIGNALS, atol=0.0006)


def test_mat_of_cpsc_2018(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"ECG": {"sex": "Male", "age": 52, "data": SIGNALS.T}})
    recording = read_recording(tmp_path / "x.mat", sampling_rate=500)
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=1e-6)
    assert has_note(recording, "names no leads: the order I, II, III")


def test_eight_leads_are_complete(tmp_path):
    keep = [0, 1, *range(6, 12)]
    path = write_csv(tmp_path / "x.csv", SIGNALS[:, keep], [DISPLAY_NAMES[i] for i in keep])
    recording = read_recording(path, sampling_rate=500)
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=0.0011)
    assert has_note(recording, "Derived exactly from I and II.*: III, aVR, aVL, aVF")
    np.save(tmp_path / "x.npy", SIGNALS[:, keep])
    again = read_recording(tmp_path / "x.npy", sampling_rate=500, leads="I,II,V1,V2,V3,V4,V5,V6")
    np.testing.assert_allclose(again.signals, recording.signals, atol=1e-6)


def test_leads_option_names_and_leaves_out(tmp_path):
    names = [f"ch{i}" for i in range(13)]
    path = write_csv(tmp_path / "x.csv", np.column_stack([SIGNALS, SIGNALS[:, 0]]), names)
    recording = read_recording(path, sampling_rate=500, leads=[*DISPLAY_NAMES, "-"])
    np.testing.assert_allclose(recording.signals, SIGNALS, atol=1e-6)
    with pytest.raises(UsageError, match="names 12 channels, but there are 13"):
        read_recording(path, sampling_rate=500, leads=DISPLAY_NAMES)
    with pytest.raises(UsageError, match="'V66' is no lead: did you mean 'V6'"):
        read_recording(path, sampling_rate=500, leads=[*DISPLAY_NAMES[:-1], "V66", "-"])


# --- bad input ---


def test_missing_file_and_unknown_format(tmp_path):
    write_wfdb(tmp_path, name="record")
    with pytest.raises(DataError, match=r"recrod\.hea does not exist: did you mean 'record\.hea'"):
        read_recording(tmp_path / "recrod.hea")
    (tmp_path / "x.pdf").write_text("x")
    with pytest.raises(UsageError, match=r"unknown format '\.pdf'.*\.csv"):
        read_recording(tmp_path / "x.pdf")
    with pytest.raises(UsageError, match="is a folder"):
        read_recording(tmp_path)
    (tmp_path / "record.hea").unlink()
    with pytest.raises(DataError, match=r"its header record\.hea is not beside it"):
        read_recording(tmp_path / "record.dat")


def test_truncated_dat(tmp_path):
    write_wfdb(tmp_path)
    data = tmp_path / "rec.dat"
    data.write_bytes(data.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"rec\.dat is truncated: 120000 bytes expected .* 119000 found"):
        read_recording(tmp_path / "rec")
    data.unlink()
    with pytest.raises(DataError, match=r"rec\.dat does not exist, but rec\.hea names it"):
        read_recording(tmp_path / "rec")


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_changed_sample_fails_the_checksum(tmp_path, fmt):
    write_wfdb(tmp_path, fmt=fmt)
    data = tmp_path / "rec.dat"
    content = bytearray(data.read_bytes())
    content[600] ^= 1
    data.write_bytes(content)
    with pytest.raises(
        DataError, match=r"the checksum of signal '\w+' is \d+ in the header but \d+ in rec\.dat"
    ):
        read_recording(tmp_path / "rec")


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-inf"])
def test_nan_and_infinity(tmp_path, cell):
    path = write_csv(tmp_path / "x.csv")
    lines = path.read_text().splitlines()
    for line in (251, 252):
        cells = lines[line].split(",")
        cells[7] = cell
        lines[line] = ",".join(cells)
    path.write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=r"lead V2: 2 of 5000 samples are .* the first at sample 250 \(0\.500 s\)"
    ):
        read_recording(path, sampling_rate=500)


def test_flat_lead(tmp_path):
    signals = SIGNALS.copy()
    signals[:, 8] = 0.25
    path = write_csv(tmp_path / "x.csv", signals)
    with pytest.raises(DataError, match=r"lead V3 is flat \(all 5000 samples equal 0\.25\)"):
        read_recording(path, sampling_rate=500)


def test_flat_in_the_part_used(tmp_path):
    signals = make_signals(seconds=25)
    signals[:6000, 8] = 0.25
    recording = read_recording(write_csv(tmp_path / "x.csv", signals), sampling_rate=500)
    with pytest.raises(DataError, match="lead V3 is flat in the part used"):
        prepare(recording, 100, 1000)
    assert prepare(recording, 100, 1000, start=15).signals.shape == (1000, 12)


def test_wrong_names_missing_and_duplicate_leads(tmp_path):
    path = write_csv(tmp_path / "x.csv", names=[*DISPLAY_NAMES[:-1], "V9"])
    with pytest.raises(DataError, match=r"lead V6 missing; the channels are: .*V9.*--leads"):
        read_recording(path, sampling_rate=500)
    path = write_csv(tmp_path / "x.csv", names=[*DISPLAY_NAMES[:-1], "Lead V5"])
    with pytest.raises(DataError, match="'V5' and 'Lead V5' both name lead V5"):
        read_recording(path, sampling_rate=500)


@pytest.mark.parametrize(
    ("order", "signs", "reason"),
    [
        ([0, 1, 2, 4, 3, 5], [1] * 6, "aVR and aVL are exchanged"),
        ([0, 2, 1, 3, 4, 5], [1] * 6, "II and III are exchanged"),
        ([0, 1, 2, 3, 4, 5], [1, 1, 1, -1, 1, 1], "aVR is upside down"),
        ([0, 6, 2, 3, 4, 5], [1] * 6, "II and V1 are exchanged"),
    ],
)
def test_wrong_lead_order_is_found_by_the_identities(tmp_path, order, signs, reason):
    signals = SIGNALS.copy()
    signals[:, :6] = SIGNALS[:, order] * signs
    if 6 in order:
        signals[:, 6] = SIGNALS[:, 1]
    with pytest.raises(DataError, match=f"contradict each other.*They would hold if {reason}"):
        read_recording(write_csv(tmp_path / "x.csv", signals), sampling_rate=500)


@given(st.permutations(range(6)), st.lists(st.sampled_from([1, -1]), min_size=6, max_size=6))
@settings(max_examples=8, deadline=None)
def test_any_relabelling_of_limb_leads_is_explained_or_harmless(order, signs):
    signals = SIGNALS.copy()
    signals[:, :6] = SIGNALS[:, order] * signs
    assert identity_residuals(signals).max() < 0.1 or explain_violation(signals)


def test_noise_in_one_limb_lead_is_an_error_without_hypothesis():
    signals = SIGNALS.copy()
    signals[:, 5] = np.random.default_rng(1).normal(0, 0.5, 5000)
    assert identity_residuals(signals).max() > 0.5
    assert explain_violation(signals) == ""


def test_arm_reversal_is_a_note(tmp_path):
    """Exchanged arms turn I over and exchange aVR with aVL: the identities hold, the shape is odd."""
    recording = read_recording(write_csv(tmp_path / "right.csv"), sampling_rate=500)
    assert not has_note(recording, "arm electrodes")
    lead_i, lead_ii = -SIGNALS[:, 0], 0.5 * SIGNALS[:, 0]
    limb = [lead_i, lead_ii, *derive_limb_leads(lead_i, lead_ii).values()]
    path = write_csv(tmp_path / "wrong.csv", np.column_stack([*limb, SIGNALS[:, 6:]]), digits=5)
    recording = read_recording(path, sampling_rate=500)
    assert has_note(recording, "arm electrodes may be exchanged")
    assert has_note(recording, "identities hold")


def test_microvolts(tmp_path):
    path = write_csv(tmp_path / "x.csv", SIGNALS * 1000)
    with pytest.raises(UsageError, match=r"does not say its units.*looks like microvolts.*--units mV, uV"):
        read_recording(path, sampling_rate=500)
    with pytest.raises(DataError, match=r"median peak-to-peak would be .* too large for an ECG.*--units"):
        read_recording(path, sampling_rate=500, units="mV")
    np.testing.assert_allclose(read_recording(path, 500, "uV").signals, SIGNALS, atol=1e-6)
    np.testing.assert_allclose(read_recording(path, 500, "1000/mV").signals, SIGNALS, atol=1e-6)
    with pytest.raises(UsageError, match="--units 'furlong' is not known"):
        read_recording(path, 500, "furlong")


def test_one_lead_in_another_unit(tmp_path):
    signals = SIGNALS.copy()
    signals[:, 7] *= 1000
    with pytest.raises(DataError, match=r"lead V2: a peak-to-peak of .* its unit is another one"):
        read_recording(write_csv(tmp_path / "x.csv", signals), sampling_rate=500)


def test_rate_is_asked_for_and_never_contradicted(tmp_path):
    np.save(tmp_path / "x.npy", SIGNALS)
    scipy.io.savemat(tmp_path / "x.mat", {"val": np.round(SIGNALS.T * 1000).astype(np.int16)})
    with pytest.raises(UsageError, match=r"does not say its sampling rate.*--sampling_rate"):
        read_recording(tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"--sampling_rate 500\. Its units are needed too: --units"):
        read_recording(tmp_path / "x.mat")
    with pytest.raises(UsageError, match="'ADC units' is not one of voltage; give --units"):
        read_recording(tmp_path / "x.mat", sampling_rate=500)
    with pytest.raises(UsageError, match="--sampling_rate 250 contradicts the file, which says 500 Hz"):
        read_recording(write_wfdb(tmp_path), sampling_rate=250)
    for rate in (0, -1, float("nan"), 1e9):
        with pytest.raises(UsageError, match="must lie between"):
            read_recording(tmp_path / "x.npy", sampling_rate=rate)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (np.delete(np.arange(5001), 700) / 500, DataError, "not uniform: from 1.398 to 1.402 at sample 700"),
        (np.minimum(np.arange(5000), 4000) / 500, DataError, "not uniform"),
        (np.arange(5000)[::-1] / 500, DataError, "not uniform"),
        (np.arange(5000) * 1.0, UsageError, "seconds, milliseconds or a sample number"),
    ],
)
def test_bad_time_columns(tmp_path, times, error, message):
    with pytest.raises(error, match=message):
        read_recording(write_csv(tmp_path / "x.csv", time=("time", times)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "no header"),
        (lambda text: text.split("\n")[0], "no samples"),
        (lambda text: text.partition("\n")[2], "first line holds numbers, but a header is needed"),
        (lambda text: text[:-30], r"line 5001: \d+ cells where the header has 12"),
        (lambda text: text.replace("0.", "O.", 1), "line 2, column 'I': 'O.* is not a number"),
    ],
)
def test_damaged_csv(tmp_path, change, message):
    path = write_csv(tmp_path / "x.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_recording(path, sampling_rate=500)


def test_damaged_arrays(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "shape.npy", SIGNALS[:, :11])
    np.save(tmp_path / "square.npy", SIGNALS[:12])
    np.save(tmp_path / "empty.npy", SIGNALS[:0])
    np.save(tmp_path / "cut.npy", SIGNALS)
    content = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-100])
    scipy.io.savemat(tmp_path / "other.mat", {"signal": SIGNALS})
    (tmp_path / "junk.mat").write_bytes(b"junk" * 100)
    for name, message in {
        "objects.npy": "not a readable .npy file of numbers",
        "shape.npy": r"has shape \(5000, 11\), but \(T, 12\)",
        "square.npy": "time and leads cannot be told apart",
        "empty.npy": "holds no samples",
        "cut.npy": "not a readable .npy",
        "other.mat": r"holds neither 'val' nor 'ECG.data' \(found: signal\)",
        "junk.mat": "not a readable MATLAB file",
    }.items():
        with pytest.raises(DataError, match=message):
            read_recording(tmp_path / name, sampling_rate=500, units="mV")


def test_damaged_edf(tmp_path):
    path = write_edf(tmp_path / "x.edf")
    content = path.read_bytes()
    path.write_bytes(content[:-500])
    with pytest.raises(DataError, match=r"truncated or damaged: \d+ bytes expected .* \d+ found"):
        read_recording(path)
    path.write_bytes(content[:192] + b"EDF+D" + content[197:])
    with pytest.raises(DataError, match="discontinuous"):
        read_recording(path)
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="not a readable EDF"):
        read_recording(path)


def test_edf_leads_of_different_rates(tmp_path):
    channels = [
        edfio.EdfSignal(
            SIGNALS[:: 2 if name == "V6" else 1, i],
            250 if name == "V6" else 500,
            label=name,
            physical_dimension="mV",
            physical_range=(-5, 5),
        )
        for i, name in enumerate(DISPLAY_NAMES)
    ]
    edfio.Edf(channels).write(tmp_path / "x.edf")
    with pytest.raises(DataError, match=r"different sampling rates: .*V6 250 Hz"):
        read_recording(tmp_path / "x.edf")


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_end_in_an_error_for_people_or_a_clean_record(tmp_path, data):
    """Whatever bytes change, nothing but our own errors comes out, and a record that comes out is finite."""
    kind = data.draw(st.sampled_from(["rec.hea", "x.edf", "x.mat", "x.npy", "x.csv"]))
    path = tmp_path / kind
    original = tmp_path / f"{kind}.original"
    if not original.exists():
        short = SIGNALS[:600]
        if kind == "rec.hea":
            write_wfdb(tmp_path, short)
        elif kind == "x.edf":
            write_edf(path, short[:500])
        elif kind == "x.mat":
            scipy.io.savemat(path, {"val": np.round(short.T * 1000).astype(np.int16)})
        elif kind == "x.npy":
            np.save(path, short)
        else:
            write_csv(path, short, time=("time", np.arange(600) / 500))
        original.write_bytes(path.read_bytes())
    content = bytearray(original.read_bytes())
    head = min(len(content), 3600)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), head, head // 2]))])
    options = {"sampling_rate": 500, "units": "uV"} if kind == "x.mat" else {}
    options |= {"sampling_rate": 500} if kind == "x.npy" else {}
    try:
        recording = read_recording(path, **options)
    except TwelveLeadError as error:
        assert kind.partition(".")[0] in str(error)
    else:
        assert np.isfinite(recording.signals).all()
        assert recording.signals.shape[1] == 12


# --- rate and length ---


def as_recording(signals, rate):
    return Recording("x", np.asarray(signals, np.float32), rate, "x.csv")


def test_five_seconds_are_not_padded():
    with pytest.raises(
        DataError, match=r"10 s are needed \(1000 samples at 100 Hz\), but the recording has 5 s; it is"
    ):
        prepare(as_recording(SIGNALS[:2500], 500), 100, 1000)


def test_500_hz_into_a_100_hz_model_and_longer_recordings():
    prepared = prepare(as_recording(make_signals(seconds=30), 500), 100, 1000)
    assert prepared.signals.shape == (1000, 12)
    assert prepared.signals.dtype == np.float32
    assert prepared.sampling_rate == 100
    assert has_note(prepared, r"500 Hz -> 100 Hz with an anti-aliasing FIR \(resample_poly 1/5\)")
    assert has_note(prepared, "30 s were given, the 10 s from 0 s on were used")
    later = prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=10)
    np.testing.assert_allclose(
        later.signals[100:-100], prepared.signals[100:-100], atol=0.001
    )  # 12 whole beats on
    for start in (-1, 31, float("nan")):
        with pytest.raises(UsageError, match="lies outside the recording of 30 s"):
            prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=start)
    with pytest.raises(DataError, match="has 5 s after 25 s"):
        prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=25)


def test_the_right_rate_is_left_bit_for_bit():
    recording = as_recording(make_signals(100), 100)
    np.testing.assert_array_equal(prepare(recording, 100, 1000).signals, recording.signals)


def test_upsampling_is_noted():
    prepared = prepare(as_recording(make_signals(50), 50), 100, 1000)
    assert has_note(prepared, "nothing above 25 Hz")


@pytest.mark.parametrize("rate", [250, 257, 360, 499.5, 500, 1000])
def test_in_band_sine_keeps_its_amplitude(rate):
    time = np.arange(round(20 * rate)) / rate
    for frequency in (1.0, 15.0, 35.0):
        result = resample(np.sin(2 * np.pi * frequency * time), rate, 100)
        truth = np.sin(2 * np.pi * frequency * np.arange(len(result)) / 100)
        assert len(result) in (2000, 2001)
        assert np.abs(result - truth)[100:-100].max() < 0.01


def test_70_hz_does_not_alias_to_30_hz():
    result = resample(np.sin(2 * np.pi * 70 * np.arange(10_000) / 500), 500, 100)
    interior = result[100:-100]
    assert 20 * np.log10(np.abs(interior).max()) < -40
    naive = np.sin(2 * np.pi * 70 * np.arange(10_000) / 500)[::5]
    assert np.abs(naive).max() > 0.9  # what taking each fifth sample would leave


@given(st.floats(-5, 5), st.floats(-1, 1), st.sampled_from([250, 360, 500, 1000]))
@settings(max_examples=20, deadline=None)
def test_offset_and_drift_do_not_ring_at_the_ends(offset, slope, rate):
    time = np.arange(10 * rate) / rate
    result = resample(offset + slope * time, rate, 100)
    np.testing.assert_allclose(result, offset + slope * np.arange(len(result)) / 100, atol=1e-9)


# --- real recordings ---


def test_resampled_500_hz_agrees_with_the_official_100_hz(shared_data):
    """PTB-XL's own 100 Hz files lie 1.25 ms ahead (5 samples at 4000 Hz) and have artefacts at their ends."""
    inner, plain, aligned, rms = slice(20, -20), [], [], []
    paths = sorted((shared_data / "ptbxl" / "records500").glob("*/*.hea"))[::6]
    assert len(paths) >= 10
    for path in paths:
        fast = read_recording(path)
        low = path.parents[2] / "records100" / path.parent.name / path.name.replace("_hr", "_lr")
        official = read_recording(low).signals[inner]
        result = prepare(fast, 100, 1000).signals[inner]
        plain.append(np.corrcoef(result.ravel(), official.ravel())[0, 1])
        shifted = resample(resample(fast.signals, 500, 4000)[5:], 4000, 100)[inner]
        aligned.append(np.corrcoef(shifted.ravel(), official.ravel())[0, 1])
        rms.append(1000 * np.sqrt(np.mean((shifted - official) ** 2)))
    print(f"correlation {min(plain):.4f}, aligned {min(aligned):.4f}, RMS {np.mean(rms):.1f} uV aligned")
    assert min(plain) > 0.99
    assert min(aligned) > 0.998
    assert max(rms) < 12


def test_real_recordings_of_other_databases(shared_data):
    chapman = prepare(read_recording(shared_data / "cinc2021" / "JS20000.mat"), 100, 1000)
    assert chapman.signals.shape == (1000, 12)
    assert has_note(chapman, "Checksums of 12 of 12")
    with pytest.raises(DataError, match=r"lead I, II.* missing; the channels are: MLII, V5"):
        read_recording(shared_data / "mitdb" / "100")
    with pytest.raises(DataError, match="too small for an ECG"):  # gain 1000 times too high in its header
        read_recording(shared_data / "cinc2021" / "S0002")
    assert has_note(read_recording(shared_data / "cinc2021" / "S0002", units="2000/mV"), "identities hold")
    with pytest.raises(DataError, match="scaled one by one"):  # every lead normalised to 1 mV by its gain
        read_recording(shared_data / "ludb" / "data" / "1")
    assert has_note(read_recording(shared_data / "ludb" / "data" / "1", units="1000/mV"), "identities hold")
    mat = read_recording(shared_data / "cpsc2018" / "A1980.mat", sampling_rate=500)
    assert has_note(mat, "mV assumed because the median peak-to-peak is 1.4 mV")


def test_a_lone_mat_reads_as_the_record_it_came_from(shared_data, tmp_path):
    record = read_recording(shared_data / "cinc2021" / "A0001")
    (tmp_path / "A0001.mat").write_bytes((shared_data / "cinc2021" / "A0001.mat").read_bytes())
    alone = read_recording(tmp_path / "A0001.mat", sampling_rate=500, units="1000/mV")
    np.testing.assert_array_equal(alone.signals, record.signals)


def test_find_recordings(tmp_path):
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

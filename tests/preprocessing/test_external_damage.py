"""Your own ECG, damaged or in doubt: bad input is named, never repaired in silence."""

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing.recordings.electrodes import exchange
from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.limb_leads import explain_violation, identity_residuals
from tests.helpers.ecg_files import SIGNALS, has_note, make_signals, write_csv, write_edf, write_wfdb
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, TwelveLeadError, UsageError


def test_file_missing_or_of_an_unknown_format_is_named(tmp_path):
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
    with pytest.raises(DataError, match=r"rec\.dat is missing, but rec\.hea names it"):
        read_recording(tmp_path / "rec")


@pytest.mark.parametrize("lead", ["RESP", "V6"])
def test_signal_file_that_is_missing_matters_where_a_lead_is_in_it(tmp_path, lead):
    write_wfdb(tmp_path, SIGNALS)
    _, *lines = (tmp_path / "rec.hea").read_text().splitlines()
    if lead == "V6":
        lines[11] = lines[11].replace("rec.dat", "gone.dat")
        (tmp_path / "rec.dat").write_bytes(np.round(SIGNALS[:, :11] * 1000).astype("<i2").tobytes())
    lines.append("gone.dat 16 1000/NU 16 0 0 0 0 RESP")
    (tmp_path / "rec.hea").write_text("\n".join(["rec 13 500 5000", *lines]) + "\n")
    if lead == "V6":
        with pytest.raises(
            DataError, match=r"rec\.hea: file gone\.dat is missing, but rec\.hea names it; copy"
        ):
            read_recording(tmp_path / "rec")
        return
    recording = read_recording(tmp_path / "rec")
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=0.00051)
    assert has_note(recording, r"RESP could not be read: file gone\.dat is missing, but rec\.hea names it")


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_checksum_finds_a_changed_sample(tmp_path, fmt):
    write_wfdb(tmp_path, fmt=fmt)
    data = tmp_path / "rec.dat"
    content = bytearray(data.read_bytes())
    content[600] ^= 1
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"checksum of lead \w+ is \d+ in the header but \d+ in rec\.dat"):
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
    recording = read_recording(path, sampling_rate=500)
    assert has_note(recording, r"WARNING: lead V2, 0\.5 s: no values")
    assert np.isnan(recording.signal[250:252, 7]).all()
    with pytest.raises(DataError, match=r"from 0 to 10 s, gaps are not filled in: lead V2, 0\.5 s: no v"):
        prepare(recording, 100, 1000)


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
    with pytest.raises(
        DataError, match=r"lead V3, 0 to 10 s: flat\. Repair it, or use another part: --start 12"
    ):
        prepare(recording, 100, 1000)
    assert prepare(recording, 100, 1000, start=15).signal.shape == (1000, 12)


def test_leads_unnamed_missing_or_duplicate_are_refused(tmp_path):
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
def test_lead_identities_find_a_wrong_order(tmp_path, order, signs, reason):
    signals = SIGNALS.copy()
    signals[:, :6] = SIGNALS[:, order] * signs
    if 6 in order:
        signals[:, 6] = SIGNALS[:, 1]
    with pytest.raises(DataError, match=f"contradict each other.*They would hold if {reason}"):
        read_recording(write_csv(tmp_path / "x.csv", signals), sampling_rate=500)


@given(st.permutations(range(6)), st.lists(st.sampled_from([1, -1]), min_size=6, max_size=6))
@settings(max_examples=8, deadline=None)
def test_limb_leads_relabeled_are_explained_or_harmless(order, signs):
    signals = SIGNALS.copy()
    signals[:, :6] = SIGNALS[:, order] * signs
    assert identity_residuals(signals).max() < 0.1 or explain_violation(signals)


def test_noise_in_one_limb_lead_is_an_error_without_hypothesis():
    signals = SIGNALS.copy()
    signals[:, 5] = np.random.default_rng(1).normal(0, 0.5, 5000)
    assert identity_residuals(signals).max() > 0.5
    assert explain_violation(signals) == ""


def test_arm_reversal_is_a_warning(tmp_path):
    """Exchanged arms turn I over and exchange aVR with aVL: the identities hold, the shape is odd."""
    recording = prepare(read_recording(write_csv(tmp_path / "right.csv"), sampling_rate=500), 100, 1000)
    assert not has_note(recording, "arm electrodes")
    path = write_csv(tmp_path / "wrong.csv", exchange(SIGNALS, "RA/LA"), digits=5)
    recording = prepare(read_recording(path, sampling_rate=500), 100, 1000)
    assert has_note(recording, "arm electrodes may be exchanged")
    assert has_note(recording, "identities hold")


def test_microvolts(tmp_path):
    path = write_csv(tmp_path / "x.csv", SIGNALS * 1000)
    with pytest.raises(UsageError, match=r"does not say its units.*looks like microvolts.*--units mV, uV"):
        read_recording(path, sampling_rate=500)
    with pytest.raises(DataError, match=r"median peak-to-peak would be .* too large for an ECG.*--units"):
        read_recording(path, sampling_rate=500, units="mV")
    np.testing.assert_allclose(read_recording(path, 500, "uV").signal, SIGNALS, atol=1e-6)
    np.testing.assert_allclose(read_recording(path, 500, "1000/mV").signal, SIGNALS, atol=1e-6)
    with pytest.raises(UsageError, match="--units 'furlong' is not known"):
        read_recording(path, 500, "furlong")


@pytest.mark.parametrize(("factor", "shown"), [(10, "11"), (0.1, "0.11")])
def test_amplitudes_off_by_ten_are_never_taken_for_millivolts_in_silence(tmp_path, factor, shown):
    silent = write_csv(tmp_path / "x.csv", SIGNALS * factor, digits=6)
    with pytest.raises(UsageError, match=r"not say its units.*not mV \(real ECGs have 0\.4 to 4\.5\); give"):
        read_recording(silent, sampling_rate=500)
    stated = write_csv(tmp_path / "y.csv", SIGNALS * factor, [f"{n} (mV)" for n in DISPLAY_NAMES], digits=6)
    for recording in (read_recording(stated, 500), read_recording(silent, 500, units="mV")):
        assert recording.notes[0] == (
            f"WARNING: median peak-to-peak {shown} mV, real ECGs have 0.4 to 4.5: check --units."
        )
    assert not has_note(read_recording(write_csv(tmp_path / "z.csv"), 500), "WARNING")


def test_lead_in_another_unit_is_found(tmp_path):
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
def test_time_columns_that_are_bad_are_refused(tmp_path, times, error, message):
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
def test_csv_damaged_is_refused(tmp_path, change, message):
    path = write_csv(tmp_path / "x.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_recording(path, sampling_rate=500)


def test_arrays_damaged_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "shape.npy", SIGNALS[:, :11])
    np.save(tmp_path / "square.npy", SIGNALS[:12])
    np.save(tmp_path / "empty.npy", SIGNALS[:0])
    np.save(tmp_path / "cut.npy", SIGNALS)
    content = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-100])
    scipy.io.savemat(tmp_path / "other.mat", {"signal": SIGNALS[:, :11], "note": "text"})
    (tmp_path / "junk.mat").write_bytes(b"junk" * 100)
    for name, message in {
        "objects.npy": "not a readable .npy file of numbers",
        "shape.npy": r"has shape \(5000, 11\), but \(T, 12\)",
        "square.npy": "time and leads cannot be told apart",
        "empty.npy": "holds no samples",
        "cut.npy": "not a readable .npy",
        "other.mat": r"holds no array of 12 leads \(found: signal \(5000, 11\)\)",
        "junk.mat": "not a readable MATLAB file",
    }.items():
        with pytest.raises(DataError, match=message):
            read_recording(tmp_path / name, sampling_rate=500, units="mV")


def test_batch_is_not_a_recording(tmp_path):
    np.save(tmp_path / "x.npy", SIGNALS[None])
    with pytest.raises(DataError, match=r"shape \(1, 5000, 12\), a batch: save one record, array\[0\]"):
        read_recording(tmp_path / "x.npy", sampling_rate=500)


def test_leads_counted_from_zero(tmp_path):
    path = write_csv(tmp_path / "x.csv", names=[f"lead{i}" for i in range(12)])
    with pytest.raises(DataError, match=r"lead1 to lead12 are counted from 1.*--leads I,II,III,aVR"):
        read_recording(path, sampling_rate=500)


def test_messages_write_leads_as_people_do(tmp_path):
    signals = SIGNALS.copy()
    signals[:, 3] = 0
    with pytest.raises(DataError, match="lead aVR is flat"):
        read_recording(write_csv(tmp_path / "x.csv", signals), sampling_rate=500)
    path = write_csv(tmp_path / "x.csv", names=[*DISPLAY_NAMES[:4], "Lead aVR", *DISPLAY_NAMES[5:]])
    with pytest.raises(DataError, match="'aVR' and 'Lead aVR' both name lead aVR"):
        read_recording(path, sampling_rate=500)


@pytest.mark.parametrize("name", ["rec.hea", "x.csv", "x.npy"])
def test_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, name):
    write_wfdb(tmp_path, SIGNALS[:600])
    write_csv(tmp_path / "x.csv", SIGNALS[:600])
    np.save(tmp_path / "x.npy", SIGNALS[:600])

    def refuse(file, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=rf"{name} cannot be read: Permission denied; check its permissions"):
        read_recording(tmp_path / name, sampling_rate=500)


def test_edf_damaged_is_refused(tmp_path):
    path = write_edf(tmp_path / "x.edf")
    content = path.read_bytes()
    path.write_bytes(content[:-500])
    with pytest.raises(DataError, match=r"truncated or damaged: \d+ bytes expected .* \d+ found"):
        read_recording(path)
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="not a readable EDF"):
        read_recording(path)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_damaged_end_in_a_clear_error_or_a_clean_record(tmp_path, data):
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
        assert np.isfinite(recording.signal).all() or has_note(recording, "WARNING: .* no values")
        assert recording.signal.shape[1] == 12

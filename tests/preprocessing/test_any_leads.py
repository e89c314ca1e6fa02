"""Recordings of fewer leads than twelve, for models that read one lead."""

import numpy as np
import pytest
from scipy.io import savemat

from preprocessing.recordings.external import prepare, read_recording
from tests.helpers.ecg_files import SIGNALS, has_note, write_csv, write_edf, write_wfdb
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


def read(path, **options):
    return read_recording(path, any_leads=True, **options)


def test_standard_leads_are_read_in_their_order_whatever_else_there_is(tmp_path):
    path = write_wfdb(tmp_path, SIGNALS[:, [6, 1]], ["V1", "MLII"])
    recording = read(path)
    assert recording.leads == ("II", "V1")
    np.testing.assert_allclose(recording.signal, SIGNALS[:, [1, 6]], atol=1e-3)
    assert has_note(recording, "MLII as II")
    with pytest.raises(DataError, match="All 12 leads are needed"):
        read_recording(path)


def test_twelve_leads_are_read_and_derived_as_ever(tmp_path):
    path = write_edf(
        tmp_path / "a.edf", SIGNALS[:, [0, 1, *range(6, 12)]], [LEADS[i] for i in (0, 1, *range(6, 12))]
    )
    one, other = read(path), read_recording(path)
    assert one.leads == other.leads == LEADS and one.notes == other.notes
    np.testing.assert_array_equal(one.signal, other.signal)


def test_channels_without_names_of_leads_keep_their_own(tmp_path):
    path = write_csv(tmp_path / "a.csv", SIGNALS[:, :2], ["left", "right"], ("time", np.arange(5000) / 500))
    recording = read(path)
    assert recording.leads == ("left", "right") and has_note(recording, "names none of the 12 leads")
    assert recording.sampling_rate == 500


def test_channels_of_no_voltage_are_left_out_and_said(tmp_path):
    path = write_wfdb(tmp_path, SIGNALS[:, :2], ["ECG", "Resp"])
    first, ecg, respiration, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, ecg, respiration.replace("/mV", "/l"), *rest]) + "\n")
    recording = read(path)
    assert recording.leads == ("ECG",) and has_note(recording, "another unit than voltage were ignored: Resp")


@pytest.mark.parametrize("shape", [(5000,), (5000, 1), (1, 5000), (5000, 3), (3, 5000)])
def test_arrays_have_time_on_their_longer_axis(tmp_path, shape):
    count = min(shape) if len(shape) == 2 else 1
    array = SIGNALS[:, :count] if shape[0] == 5000 else SIGNALS[:, :count].T
    np.save(tmp_path / "a.npy", array.reshape(shape))
    savemat(tmp_path / "a.mat", {"ecg": array.reshape(shape)})
    for name in ("a.npy", "a.mat"):
        recording = read(tmp_path / name, sampling_rate=500)
        assert recording.leads == tuple(f"channel {i + 1}" for i in range(count))
        np.testing.assert_allclose(recording.signal, SIGNALS[:, :count], atol=1e-6)


def test_arrays_whose_axes_cannot_be_told_apart_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", SIGNALS[:30, :3])
    with pytest.raises(DataError, match="time and leads cannot be told apart"):
        read(tmp_path / "a.npy", sampling_rate=500)


def test_numbers_without_header_are_one_channel(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(f"{value:.3f}" for value in SIGNALS[:, 1]) + "\n")
    recording = read(tmp_path / "a.csv", sampling_rate=500)
    np.testing.assert_allclose(recording.signal[:, 0], SIGNALS[:, 1], atol=1e-3)
    with pytest.raises(UsageError, match="--sampling_rate"):
        read(tmp_path / "a.csv")


def test_lost_stretches_of_a_single_lead_are_found_and_the_limits_said(tmp_path):
    signal = SIGNALS[:, [1]].copy()
    signal[1000:3000] = signal[1000]
    np.save(tmp_path / "a.npy", signal)
    recording = prepare(read(tmp_path / "a.npy", sampling_rate=500, seconds=10), 100, 1000)
    assert [(fault.kind, fault.lead) for fault in recording.faults] == [("flat", "channel 1")]
    assert has_note(recording, "WARNING: lead channel 1, 2 to 6 s: flat")
    assert has_note(recording, "only lost stretches are looked for")


def test_leads_that_are_named_outrank_the_names_in_the_file(tmp_path):
    path = write_csv(tmp_path / "a.csv", SIGNALS[:, :2], ["left", "right"], ("time", np.arange(5000) / 500))
    assert read(path, leads="-,II").leads == ("II",)


def test_twins_of_one_name_are_refused(tmp_path):
    path = write_wfdb(tmp_path, SIGNALS[:, :2], ["ECG", "ECG2"])
    path.write_text(path.read_text().replace("ECG2", "ECG"))
    with pytest.raises(DataError, match="two channels are named 'ECG'"):
        read(path)

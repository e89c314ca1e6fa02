"""Small files of the kinds that people report as unreadable, with the right answer of each."""

import shutil

import numpy as np
import pytest

from preprocessing.recordings.external import find_recordings, prepare, read_recording
from tests.helpers.ecg_files import has_note
from utils.errors import DataError, UsageError


@pytest.fixture
def cases(shared_data):
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no such files at {folder}")
    return folder


@pytest.fixture
def expected(shared_data):
    """The ECG that all of them were made from, (1000, 12) in mV."""
    return prepare(read_recording(shared_data / "sample" / "04827_lr"), 100, 1000).signal


def use(path, start=None, **options):
    return prepare(read_recording(path, **options, start=start, seconds=10), 100, 1000, start)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("01_multiseg/seg", 3e-5),
        ("01_multiseg/var", 3e-5),
        ("02_multiseg_multifreq/multi", 0),
        ("05_format61/f61", 0),
        ("06_upper_case/REC.HEA", 0),
        ("06_upper_case/REC.DAT", 0),
        ("06_upper_case/REC", 0),
        ("10_hea_text/dateonly", 0),
        ("10_hea_text/dotslash", 0),
        ("10_hea_text/len0", 0),
        ("10_hea_text/micro", 1e-7),
        ("10_hea_text/mit gap", 0),
        ("10_hea_text/paths", 0),
        ("10_hea_text/x.y", 0),
        ("10_hea_text/greekutf8.edf", 2e-4),
        ("12_bad_outside_used_part/limboff20", 0),
        ("12_bad_outside_used_part/nan25", 0),
        ("16_other_formats/dcont.edf", 2e-4),
        ("16_other_formats/plain.bdf", 1e-6),
        ("16_other_formats/rec.npz", 1e-7),
    ],
)
def test_file_is_read_rightly(cases, expected, name, tolerance):
    np.testing.assert_allclose(use(cases / name).signal, expected, rtol=0, atol=tolerance)


def test_matlab_7_3_file_is_read_at_the_rate_that_is_given(cases, expected):
    path = cases / "16_other_formats" / "v73.mat"
    with pytest.raises(UsageError, match="does not say its sampling rate"):
        use(path)
    np.testing.assert_allclose(use(path, sampling_rate=100).signal, expected, atol=1e-7)


def test_gap_between_segments_is_named(cases, expected):
    with pytest.raises(DataError, match=r"50 of 1000 samples are missing .*\(6\.000 s\), the last at 6\.49"):
        use(cases / "01_multiseg" / "gap")
    recording = read_recording(cases / "01_multiseg" / "gap", start=0, seconds=6)
    assert has_note(recording, "gap without a signal from 6 to 6.5 s")
    np.testing.assert_allclose(recording.signal[:600], expected[:600], atol=3e-5)
    np.testing.assert_allclose(recording.signal[650:], expected[600:], atol=3e-5)
    assert np.isnan(recording.signal[600:650]).all()


def test_folder_of_segments_holds_three_records(cases, tmp_path):
    shutil.copytree(cases / "01_multiseg", tmp_path / "copy", copy_function=shutil.copyfile)
    assert [path.name for path in find_recordings(tmp_path / "copy")] == ["gap.hea", "seg.hea", "var.hea"]


def test_record_without_a_rate_asks_for_it(cases, expected):
    path = cases / "03_no_frequency" / "nofreq30"
    with pytest.raises(UsageError, match="the file does not say its sampling rate; give it in Hz"):
        use(path)
    recording = read_recording(path, 100)
    assert len(recording.signal) == 3000 and recording.sampling_rate == 100
    np.testing.assert_array_equal(recording.signal[:1000], expected)


@pytest.mark.parametrize(("name", "leads"), [("phys0_all", 12), ("phys0_v1_10", 1)])
def test_leads_without_calibration_are_refused(cases, name, leads):
    with pytest.raises(UsageError, match=rf"{leads} of 12 leads have no calibration .*lead V1"):
        use(cases / "04_edf_uncalibrated" / f"{name}.edf")


def test_leads_without_calibration_are_read_by_a_gain(cases, expected):
    signal = use(cases / "04_edf_uncalibrated" / "phys0_all.edf", units="400/mV").signal
    np.testing.assert_allclose(signal, expected, atol=0.002)
    with pytest.raises(DataError, match="too large for an ECG"):  # made with 10,000 units per mV
        use(cases / "04_edf_uncalibrated" / "phys0_v1_10.edf", units="400/mV")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("limboff20", "lead I, 20 to 30 s: flat"), ("nan25", "all leads, 25 to 26 s: no values")],
)
@pytest.mark.parametrize("start", [None, 5])
def test_fault_outside_the_part_is_a_note(cases, name, fault, start):
    recording = use(cases / "12_bad_outside_used_part" / name, start)
    assert has_note(recording, f"Outside the part used: {fault}")

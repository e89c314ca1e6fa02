"""Formats of electrocardiographs: files of writers of our own and pydicom's sample, read with ecgdatakit."""

import sys

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.waveforms import multiplex_array

from preprocessing.recordings.external import find_recordings, read_recording
from preprocessing.recordings.formats import recognize
from preprocessing.recordings.readers import vendor
from tests.helpers import vendor_files
from tests.helpers.ecg_files import SIGNALS, has_note
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, TwelveLeadError, UsageError

WRITERS = {
    "GE MUSE XML": (vendor_files.write_muse, ".xml"),
    "HL7 aECG": (vendor_files.write_aecg, ".xml"),
    "Philips XML": (vendor_files.write_philips, ".xml"),
    "SCP-ECG": (vendor_files.write_scp, ".scp"),
    "ISHNE": (vendor_files.write_ishne, ".ecg"),
    "MFER": (vendor_files.write_mfer, ".mwf"),
}
DIGITAL = np.round(SIGNALS.T * 1000 / vendor_files.MICROVOLTS).astype(np.int16)  # (12, T)
MILLIVOLTS = DIGITAL.T * vendor_files.MICROVOLTS / 1000


@pytest.fixture(params=WRITERS)
def vendor_file(request, tmp_path):
    """A file of each format, and the name of the format."""
    write, suffix = WRITERS[request.param]
    path = tmp_path / f"ecg{suffix}"
    write(path, DIGITAL, list(DISPLAY_NAMES))
    return path, request.param


def test_vendor_file_gives_the_signals_written(vendor_file):
    path, name = vendor_file
    assert recognize(path).name == name
    recording = read_recording(path)
    assert recording.sampling_rate == vendor_files.RATE
    np.testing.assert_allclose(recording.signal, MILLIVOLTS, atol=1e-6)
    assert find_recordings(path.parent)[0] == path


def test_vendor_file_is_recognized_whatever_its_name(vendor_file):
    path, name = vendor_file
    renamed = path.rename(path.with_suffix(".bin"))
    assert recognize(renamed).name == name
    np.testing.assert_allclose(read_recording(renamed).signal, MILLIVOLTS, atol=1e-6)


def test_leads_of_a_vendor_file_are_mapped_by_name(vendor_file):
    path, name = vendor_file
    order = [11, 3, 0, 7, 1, 2, 4, 10, 5, 6, 8, 9]
    WRITERS[name][0](path, DIGITAL[order], [DISPLAY_NAMES[n] for n in order])
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, MILLIVOLTS, atol=1e-6)
    assert has_note(recording, "standard order")


def test_limb_leads_that_a_vendor_file_lacks_are_derived(vendor_file):
    path, name = vendor_file
    kept = [0, 1, *range(6, 12)]
    WRITERS[name][0](path, DIGITAL[kept], [DISPLAY_NAMES[n] for n in kept])
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal[:, 2], MILLIVOLTS[:, 1] - MILLIVOLTS[:, 0], atol=1e-6)
    assert has_note(recording, "Derived exactly from I and II")


def test_truncated_vendor_files_end_with_our_error(vendor_file):
    path, name = vendor_file
    content = path.read_bytes()
    for length in (len(content) // 2, 530, 140, 40):
        path.write_bytes(content[:length])
        if name == "ISHNE" and length > 1000:  # its writers disagree about the count: a note
            assert has_note(
                read_recording(path), "the header declares 5,000 samples a lead, the file holds 2,489"
            )
            continue
        with pytest.raises(TwelveLeadError, match=path.name):
            read_recording(path)


def test_leads_of_different_lengths_are_refused(tmp_path):
    path = tmp_path / "ecg.xml"
    vendor_files.write_aecg(path, DIGITAL, list(DISPLAY_NAMES))
    text = path.read_text()
    start = text.index("<digits>") + len("<digits>")
    path.write_text(text[:start] + text[start:].partition(" ")[2])
    with pytest.raises(DataError, match=r"ecg\.xml: .* different numbers of samples \(I 4,999, II 5,000"):
        read_recording(path)


def test_lead_fault_of_an_ishne_file_is_not_signal(tmp_path):
    path = tmp_path / "ecg.ecg"
    faulty = DIGITAL.copy()
    faulty[7, 1000:1100] = -32768
    vendor_files.write_ishne(path, faulty, list(DISPLAY_NAMES))
    assert any("WARNING: lead V2, " in note and "NaN" in note for note in read_recording(path).notes)
    with pytest.raises(DataError, match="V2"):
        read_recording(path, seconds=10)


def test_vendor_file_says_what_to_install_without_the_library(vendor_file, monkeypatch):
    path, name = vendor_file
    monkeypatch.setitem(sys.modules, "ecgdatakit.parsing.parser", None)
    with pytest.raises(DataError, match=rf"{name}; to read it: pip install 'ecgdatakit\[dicom\]'"):
        read_recording(path)


def test_vendor_file_beyond_the_limit_is_refused(vendor_file, monkeypatch):
    path, name = vendor_file
    size = path.stat().st_size
    with pytest.raises(DataError, match=rf"{size:,} bytes of {name}; at most {size - 1:,} are read"):
        vendor.reader(name, size - 1)(path, None)


def test_checksum_mismatch_of_a_vendor_file_is_a_note(tmp_path):
    path = tmp_path / "ecg.scp"
    vendor_files.write_scp(path, DIGITAL, list(DISPLAY_NAMES))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert has_note(read_recording(path), "CRC mismatch")


def test_unit_that_a_muse_file_does_not_state_is_asked_for(tmp_path):
    path = tmp_path / "ecg.xml"
    vendor_files.write_muse(path, DIGITAL, list(DISPLAY_NAMES), unit="")
    with pytest.raises(UsageError, match="give --units mV, uV, V or a gain"):
        read_recording(path)
    np.testing.assert_allclose(read_recording(path, units="200/mV").signal, MILLIVOLTS, atol=1e-6)


def test_entities_of_an_xml_file_are_refused(tmp_path):
    path = tmp_path / "bomb.xml"
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 10}">' for n in range(9))
    path.write_text(f"<!DOCTYPE RestingECG [{entities}]><RestingECG>&e8;</RestingECG>")
    with pytest.raises(DataError, match="entity declarations"):
        read_recording(path)


def test_dicom_sample_of_pydicom_equals_its_own_decoding():
    path = get_testdata_file("waveform_ecg.dcm")
    recording = read_recording(path)
    assert recognize(recording.source).name == "DICOM"
    assert recording.sampling_rate == 1000
    microvolts = multiplex_array(pydicom.dcmread(path), 0, as_raw=False)
    np.testing.assert_allclose(recording.signal, microvolts / 1000, atol=1e-6)


def test_dicom_without_a_waveform_is_refused():
    with pytest.raises(DataError, match="not a readable DICOM file"):
        read_recording(get_testdata_file("CT_small.dcm"))

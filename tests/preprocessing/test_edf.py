"""EDF, EDF+ and BDF files, written by edfio or byte by byte: calibration, gaps, units, damage."""

import edfio
import numpy as np
import pytest

from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.formats import Request, recognize
from tests.helpers.ecg_files import SIGNALS, has_note, make_signals, write_edf
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, UsageError

# Fields of the header of a signal: first byte among those of one signal, and width.
FIELDS = {"label": (0, 16), "unit": (96, 8), "low": (104, 8), "high": (112, 8), "bottom": (120, 8)}
FIELDS |= {"top": (128, 8), "samples": (216, 8)}


def change(path, field, value, signals=range(12)):
    """Overwrite a field of some signals."""
    content = bytearray(path.read_bytes())
    count = int(content[252:256])
    first, width = FIELDS[field]
    for signal in signals:
        at = 256 + first * count + width * signal
        content[at : at + width] = value.ljust(width)[:width] if isinstance(value, bytes) else value
    path.write_bytes(content)


def overwrite(path, at, value):
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


def write_records(path, seconds=12, gap_at=None, gap=0.0, kind=edfio.Edf):
    """An EDF+ file of one data record a second; records from `gap_at` on begin `gap` seconds later."""
    signal = edfio.EdfSignal if kind is edfio.Edf else edfio.BdfSignal
    signals = make_signals(100, seconds)
    channels = [
        signal(values, 100, label=name, physical_dimension="mV", physical_range=(-5, 5))
        for name, values in zip(DISPLAY_NAMES, signals.T, strict=True)
    ]
    kind(channels, annotations=[edfio.EdfAnnotation(0, None, "x")], data_record_duration=1).write(path)
    if gap_at is not None:
        content = path.read_bytes().replace(b"EDF+C", b"EDF+D", 1).replace(b"BDF+C", b"BDF+D", 1)
        for second in range(gap_at, seconds)[:: -1 if gap > 0 else 1] if gap else ():
            old = b"+%d\x14\x14\0\0\0" % second  # there are zeros behind an onset
            assert content.count(old) == 1
            new = b"+%g\x14\x14" % (second + gap)
            content = content.replace(old, new.ljust(len(old), b"\0"))
        path.write_bytes(content)
    return signals


@pytest.mark.parametrize("kind", [edfio.Edf, edfio.Bdf])
def test_values_are_those_of_edfio(tmp_path, kind):
    path = tmp_path / "x.edf"
    write_records(path, kind=kind)
    theirs = (edfio.read_edf if kind is edfio.Edf else edfio.read_bdf)(path)
    ours = recognize(path).read(path, Request())
    assert ours.kind == kind.__name__.upper()
    assert [c.name for c in ours.channels] == [s.label for s in theirs.signals]
    for channel, signal in zip(ours.channels, theirs.signals, strict=True):
        np.testing.assert_array_equal(channel.values, signal.data)
        np.testing.assert_allclose(
            channel.values * channel.gain,
            signal.digital + (channel.values * channel.gain - signal.digital)[0],
        )


@pytest.mark.parametrize("kind", [edfio.Edf, edfio.Bdf])
def test_discontinuous_file_without_a_gap_is_read(tmp_path, kind):
    signals = write_records(tmp_path / "x.edf", gap_at=0, kind=kind)
    recording = read_recording(tmp_path / "x.edf")
    np.testing.assert_allclose(recording.signal, signals, atol=2e-4)
    assert has_note(recording, "EDF.D: the data records follow each other without a gap")


def test_gap_of_a_discontinuous_file_is_nan_and_named(tmp_path):
    path = tmp_path / "x.edf"
    signals = write_records(path, seconds=25, gap_at=11, gap=3)
    assert has_note(read_recording(path), r"WARNING: all leads, 11 to 14 s: no values \(NaN\)")
    with pytest.raises(DataError, match=r"300 of 1000 samples are missing .*\(11\.000 s\).*--start"):
        read_recording(path, start=5, seconds=10)
    recording = read_recording(path, start=0, seconds=10)
    np.testing.assert_allclose(recording.signal[1400:], signals[1100:], atol=2e-4)
    assert np.isnan(recording.signal[1100:1400]).all()
    assert has_note(recording, r"there are 1 gaps without a signal: 11 to 14 s")
    assert np.isfinite(prepare(recording, 100, 1000, 14).signal).all()
    with pytest.raises(DataError, match="gaps are not filled in: all leads, 11 to 14 s"):
        prepare(recording, 100, 1000, 5)


def test_gap_that_is_not_a_whole_record_is_read(tmp_path):
    signals = write_records(tmp_path / "x.edf", gap_at=4, gap=0.45)
    recording = read_recording(tmp_path / "x.edf", start=4.45, seconds=7)
    assert len(recording.signal) == 1245 and np.isnan(recording.signal[400:445]).all()
    np.testing.assert_allclose(recording.signal[445:], signals[400:], atol=2e-4)


def test_data_records_that_overlap_are_refused(tmp_path):
    write_records(tmp_path / "x.edf", gap_at=4, gap=-0.5)
    with pytest.raises(DataError, match=r"data records of the EDF\+D file overlap; export"):
        read_recording(tmp_path / "x.edf")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("low", b"5", "physical minimum and maximum are both 5"),
        ("bottom", b"32767", "digital minimum and maximum are both 32767"),
        ("low", b"?", "physical minimum is '\\?'"),
        ("high", b"", "physical maximum is ''"),
        ("top", b"nan", "digital maximum is 'nan'"),
        ("high", b"5,0", "physical maximum is '5,0'"),
    ],
)
def test_lead_without_calibration_is_refused_by_name(tmp_path, field, value, reason):
    path = tmp_path / "x.edf"
    write_records(path)
    expected = read_recording(path).signal
    change(path, field, value, [6])
    with pytest.raises(UsageError, match=rf"1 of 12 leads have no calibration \(lead V1: its {reason}\)"):
        read_recording(path)
    with pytest.raises(UsageError, match="lead V1"):
        read_recording(path, units="mV")  # a unit says nothing of integers
    recording = read_recording(path, units="6553.5/mV")
    np.testing.assert_allclose(recording.signal, expected, atol=1e-4)
    assert has_note(recording, r"Gain 6553\.5 ADC units per mV as given with --units; units in the file: mV")


def test_channel_without_calibration_that_is_not_a_lead_does_not_matter(tmp_path):
    path = write_edf(tmp_path / "x.edf", np.column_stack([SIGNALS, SIGNALS[:, 0]]), [*DISPLAY_NAMES, "RESP"])
    change(path, "low", b"0", [12])
    change(path, "high", b"0", [12])
    assert has_note(read_recording(path), "ignored: ECG RESP")


@pytest.mark.parametrize("unit", ["µV".encode(), "µV".encode("latin-1"), "μV".encode(), b"uV", b"UV"])
def test_microvolts_however_they_are_written(tmp_path, unit):
    path = write_edf(tmp_path / "x.edf", SIGNALS * 1000, unit="uV")
    change(path, "unit", unit)
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=6e-4)
    assert has_note(recording, "were converted to mV")


def test_number_of_records_that_was_never_written_is_taken_from_the_size(tmp_path):
    path = tmp_path / "x.edf"
    signals = write_records(path)
    overwrite(path, 236, b"-1      ")
    recording = read_recording(path)
    np.testing.assert_allclose(recording.signal, signals, atol=2e-4)
    assert has_note(recording, "does not count its data records: 12 taken from the size")


def test_truncated_file_is_used_up_to_where_it_ends(tmp_path):
    path = tmp_path / "x.edf"
    write_records(path, seconds=20)
    path.write_bytes(path.read_bytes()[:-7000])
    with pytest.raises(DataError, match=r"x\.edf is truncated or damaged: \d+ bytes expected"):
        read_recording(path)
    recording = read_recording(path, start=5, seconds=10)
    assert has_note(recording, "The file is truncated")
    outside = r"Outside the part used: all leads, 17 to 20 s: no values \(NaN\)"
    assert has_note(prepare(recording, 100, 1000, 5), outside)
    with pytest.raises(DataError, match="truncated"):
        read_recording(path, start=9, seconds=10)


def test_bytes_behind_the_last_record_are_said(tmp_path):
    path = tmp_path / "x.edf"
    write_records(path)
    path.write_bytes(path.read_bytes() + b"trailing")
    assert has_note(read_recording(path), "8 bytes more than its header says")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (244, b"0       ", "data records of '0' seconds, so it says no sampling rate"),
        (244, b"x       ", "data records of 'x' seconds"),
        (252, b"0   ", "announces 0 signals"),
        (252, b"9999", "announces 9999 signals"),
        (252, b"2000", "ends within its header; copy it again"),
        (236, b"0       ", "counts 0 data records"),
        (236, b"9999999 ", "truncated or damaged"),
        (236, b"many    ", "number of data records is 'many'"),
    ],
)
def test_header_that_cannot_be_right_names_the_fault(tmp_path, at, value, message):
    path = tmp_path / "x.edf"
    write_records(path)
    overwrite(path, at, value)
    with pytest.raises(DataError, match=message):
        read_recording(path)


def test_declared_size_is_refused_before_it_takes_memory(tmp_path):
    """A sparse file is as long as its header says."""
    path = tmp_path / "x.edf"
    write_records(path)
    size, count = path.stat().st_size, 12
    header = 256 * 14
    overwrite(path, 236, b"%-8d" % 9_999_999)
    with open(path, "ab") as file:
        file.truncate(header + (size - header) // count * 9_999_999)
    with pytest.raises(DataError, match=r"would take [\d.]+ GB of memory.*cut it into parts"):
        read_recording(path, seconds=10)


def test_dates_and_reserved_fields_do_not_matter(tmp_path):
    path = tmp_path / "x.edf"
    signals = write_records(path)
    overwrite(path, 8, "Müller, Käthe".encode("latin-1"))
    overwrite(path, 168, b"99.99.99xx.yy.zz")
    np.testing.assert_allclose(read_recording(path).signal, signals, atol=2e-4)


def test_leads_of_different_rates_are_brought_to_the_highest_and_named(tmp_path):
    """Limb leads at 250 Hz and V6 at 100 Hz beside 500 Hz; each rate is in the header."""
    steps = {"I": 2, "III": 2, "V6": 5}
    channels = [
        edfio.EdfSignal(
            SIGNALS[:: steps.get(name, 1), i],
            500 / steps.get(name, 1),
            label=name,
            physical_dimension="mV",
            physical_range=(-5, 5),
        )
        for i, name in enumerate(DISPLAY_NAMES)
    ]
    edfio.Edf(channels).write(tmp_path / "x.edf")
    recording = read_recording(tmp_path / "x.edf")
    assert recording.sampling_rate == 500 and len(recording.signal) == len(SIGNALS)
    notes = " ".join(recording.notes)
    assert "brought to 500 Hz: I (250 Hz), III (250 Hz), V6 (100 Hz); there is nothing above" in notes
    whole = [i for i, name in enumerate(DISPLAY_NAMES) if name not in steps]
    np.testing.assert_allclose(recording.signal[:, whole], SIGNALS[:, whole], atol=2e-4)
    np.testing.assert_allclose(recording.signal[100:-100], SIGNALS[100:-100], atol=0.03)

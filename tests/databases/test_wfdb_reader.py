"""The WFDB reader: leads, parts, units, segments, rates, annotations, and records that cannot be right."""

import os

import numpy as np
import pytest

from databases.base import Marks
from databases.wfdb_annotations import find_waves, read_annotations, read_notes
from databases.wfdb_files import checksums, import_wfdb, write_record
from databases.wfdb_header import RecordError, read_header
from databases.wfdb_reader import read_channels, read_record
from tests.helpers.window_files import write_annotations, write_beat_record
from utils.errors import UsageError

RAMP = np.arange(600, dtype=np.int16)


def write_two(folder, name="rec", rate=100, leads=("I", "aVR"), start=0, samples=600):
    """A record whose lead k holds the ramp from `start` on, plus 1000 k."""
    signal = (RAMP[:samples, None] + start + 1000 * np.arange(len(leads))).astype(np.int16)
    write_record(folder, name, signal, rate, leads)
    return folder / name


def rewrite(path, old, new, count=-1):
    header = path.with_name(f"{path.name}.hea")
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new, count))


def test_leads_are_taken_by_name_in_the_order_asked_for(tmp_path):
    path = write_two(tmp_path)
    both = read_record(path)
    assert both.leads == ("I", "AVR") and both.signal.dtype == np.float32 and both.name == "rec"
    assert both.notes == ["Checksums of 2 of 2 signals verified."]
    swapped = read_record(path, ["avr", "I"], 5, 9)
    np.testing.assert_array_equal(swapped.signal, both.signal[5:9, ::-1])
    assert swapped.leads == ("AVR", "I")
    assert read_record(path, dtype=np.float64).signal[1, 1] == 1.001
    with pytest.raises(RecordError, match=r"has no lead V1, V2 \(it has I, aVR\)"):
        read_record(path, ["V1", "I", "V2"])
    with pytest.raises(UsageError, match="600 samples: there is no part from 590 to 601"):
        read_record(path, None, 590, 601)


def test_signals_that_are_not_voltages_are_left_out_unless_asked_for(tmp_path):
    path = write_two(tmp_path, leads=("I", "RESP"))
    lines = (tmp_path / "rec.hea").read_text().splitlines()
    lines[2] = lines[2].replace("/mV", "/NU")
    (tmp_path / "rec.hea").write_text("\n".join(lines) + "\n")
    recording = read_record(path)
    assert (
        recording.leads == ("I",) and "Signals that are not voltages were left out: RESP." in recording.notes
    )
    with pytest.raises(RecordError, match="NU is not a unit of voltage"):
        read_record(path, ["RESP"])


def test_units_are_converted_and_defaults_named(tmp_path):
    path = write_two(tmp_path)
    rewrite(path, "1000.0(0)/mV", "1(0)/uV")
    np.testing.assert_allclose(read_record(path).signal[:, 0], RAMP / 1000, atol=1e-7)
    rewrite(path, "1(0)/uV", "0")
    recording = read_record(path)
    assert any("200 units per mV" in note for note in recording.notes)
    np.testing.assert_allclose(recording.signal[:, 0], RAMP / 200, atol=1e-6)


def test_header_without_a_rate_says_so(tmp_path):
    path = write_two(tmp_path)
    rewrite(path, "rec 2 100 600", "rec 2")
    assert read_header(path).sampling_rate is None
    assert [channel.rate for channel in read_channels(read_header(path))[0]] == [None, None]
    with pytest.raises(RecordError, match="header says no sampling rate, expected 100 Hz"):
        read_record(path, sampling_rate=100)
    with pytest.raises(RecordError, match="header says no sampling rate; add it to its first line"):
        read_record(path)


@pytest.mark.parametrize("rate", ["0", "-100", "nan", "abc", "1e99"])
def test_rate_that_is_none_is_not_stated(tmp_path, rate):
    path = write_two(tmp_path)
    rewrite(path, "rec 2 100 600", f"rec 2 {rate} 600")
    header = read_header(path)
    assert header.sampling_rate is None and header.samples == 600
    assert f"sampling rate of '{rate}', which is none" in header.remarks[0]


def write_segments(folder, text):
    write_two(folder, "a", samples=400)
    write_two(folder, "b", start=400, samples=200)
    (folder / "multi.hea").write_text(text)
    return folder / "multi"


def test_segments_are_joined(tmp_path):
    path = write_segments(tmp_path, "multi/2 2 100 600\na 400\nb 200\n")
    recording = read_record(path)
    np.testing.assert_array_equal(recording.signal, read_record(write_two(tmp_path)).signal)
    assert recording.leads == ("I", "AVR") and "2 segments were joined" in recording.notes[0]
    np.testing.assert_array_equal(
        read_record(path, ["AVR"], 390, 410).signal[:, 0], recording.signal[390:410, 1]
    )


def test_segments_with_a_layout_and_a_gap(tmp_path):
    path = write_segments(tmp_path, "multi/4 3 100 650\nlayout 0\na 400\n~ 50\nb 200\n")
    lines = [f"~ 0 1000/mV 16 0 0 0 0 {lead}" for lead in ("I", "aVR", "V1")]
    (tmp_path / "layout.hea").write_text("\n".join(["layout 3 100 0", *lines]) + "\n")
    channels, notes = read_channels(read_header(path))
    assert [channel.name for channel in channels] == ["I", "aVR"]
    assert np.flatnonzero(np.isnan(channels[0].values)).tolist() == list(range(400, 450))
    assert "there is a gap without a signal from 4 to 4.5 s" in notes
    with pytest.raises(RecordError, match=r"lead I has invalid \(NaN\) samples"):
        read_record(path)
    assert len(read_record(path, ["I"], 0, 400).signal) == 400
    with pytest.raises(RecordError, match="none of its segments holds lead V1"):
        read_record(path, ["V1"])


def test_segments_in_another_unit_and_order_without_their_layout(tmp_path):
    write_two(tmp_path, "a", samples=400)
    write_two(tmp_path, "b", start=400, samples=200)
    lines = (tmp_path / "b.hea").read_text().replace("1000.0(0)/mV", "1(0)/uV").splitlines()
    swapped = np.fromfile(tmp_path / "b.dat", "<i2").reshape(-1, 2)[:, ::-1]
    swapped.astype("<i2").tofile(tmp_path / "b.dat")
    (tmp_path / "b.hea").write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    (tmp_path / "multi.hea").write_text("multi/3 2 100 600\nlayout 0\na 400\nb 200\n")
    recording = read_record(tmp_path / "multi")
    np.testing.assert_allclose(recording.signal, read_record(write_two(tmp_path)).signal, atol=1e-6)
    channels, _ = read_channels(read_header(tmp_path / "multi"))
    assert [channel.gain for channel in channels] == [None, None]  # no single one leads to the integers


def test_segment_that_lacks_a_lead_leaves_a_gap(tmp_path):
    path = write_segments(tmp_path, "multi/2 2 100 600\na 400\nb 200\n")
    lines = (tmp_path / "b.hea").read_text().splitlines()
    (tmp_path / "b.hea").write_text("\n".join([lines[0], lines[1], lines[2].replace("aVR", "V1")]) + "\n")
    channels, _ = read_channels(read_header(path))
    missing = {channel.name: np.flatnonzero(np.isnan(channel.values)) for channel in channels}
    assert [len(missing[name]) for name in ("I", "aVR", "V1")] == [0, 200, 400] and missing["aVR"][0] == 400


def test_segments_of_several_frequencies_keep_the_higher_rate(tmp_path):
    for name, first in (("a", 0), ("b", 1)):
        fast = (np.arange(500) + first).astype(np.int64)
        wfdb = import_wfdb()
        record = wfdb.Record(
            record_name=name,
            n_sig=2,
            fs=20,
            sig_len=100,
            file_name=[f"{name}.dat"] * 2,
            fmt=["16"] * 2,
            samps_per_frame=[5, 1],
            adc_gain=[1000.0] * 2,
            baseline=[0] * 2,
            units=["mV"] * 2,
            sig_name=["I", "RESP"],
            e_d_signal=[fast, np.arange(100)],
            byte_offset=[None] * 2,
            skew=[None] * 2,
            adc_res=[16] * 2,
            adc_zero=[0] * 2,
            block_size=[0] * 2,
        )
        record.set_d_features(do_adc=False, single_fmt=False, expanded=True)
        record.set_defaults()
        record.wrsamp(expanded=True, write_dir=str(tmp_path))
    (tmp_path / "multi.hea").write_text("multi/2 2 20 200\na 100\nb 100\n")
    channels, _ = read_channels(read_header(tmp_path / "multi"))
    assert [(channel.name, channel.rate, len(channel.values)) for channel in channels] == [
        ("I", 100, 1000),
        ("RESP", 20, 200),
    ]
    assert channels[0].values[500] == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multi/2 2 100 600\na 400\nc 200\n", r"record .*c: file c\.hea is missing"),
        ("multi/2 2 100 650\na 400\nb 250\n", "segment b does not have the 250 samples"),
        ("multi/2 2 100 600\nmulti 300\nb 300\n", "segment multi has segments itself"),
        ("multi/1 2 100 400\n../a 400\n", "outside the folder of the record"),
        ("multi/2 2 100 99999999999\na 400\n~ 99999999599\n", r"would take \d+ GB of memory"),
    ],
)
def test_segments_that_cannot_be_right(tmp_path, text, message):
    with pytest.raises(RecordError, match=message):
        read_record(write_segments(tmp_path, text))


def test_samples_changed_or_cut_are_refused(tmp_path):
    path = write_two(tmp_path)
    content = bytearray(path.with_suffix(".dat").read_bytes())
    content[100] ^= 1
    path.with_suffix(".dat").write_bytes(content)
    with pytest.raises(RecordError, match=r"record .*rec: checksum of lead I is \d+ in the header but"):
        read_record(path)
    assert len(read_record(path, None, 0, 10).signal) == 10  # a part has no checksum
    path.with_suffix(".dat").write_bytes(content[:-4])
    with pytest.raises(RecordError, match=r"rec\.dat is truncated: 2400 bytes expected .* 2396 found"):
        read_record(path, None, 0, 10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("ending", [".hea", ".dat", ".atr"])
def test_pipe_in_place_of_a_file_does_not_hang(tmp_path, ending):
    write_beat_record(tmp_path, "rec", 100, [(5, "N")])
    path = tmp_path / "rec"
    path.with_suffix(ending).unlink()
    os.mkfifo(path.with_suffix(ending))
    with pytest.raises(RecordError, match=rf"rec\{ending} is not a regular file"):
        read_annotations(path) if ending == ".atr" else read_record(path)


def test_skew_beyond_the_signals_is_refused(tmp_path):
    path = write_two(tmp_path)
    rewrite(path, "rec.dat 16 ", "rec.dat 16:100000000 ", 1)
    with pytest.raises(RecordError, match="skew of 100000000, beyond the end"):
        read_record(path)


@pytest.mark.parametrize("name", ["../rec.dat", "/tmp/rec.dat"])
def test_signal_file_outside_the_folder_is_refused(tmp_path, name):
    path = write_two(tmp_path)
    rewrite(path, "rec.dat", name)
    with pytest.raises(RecordError, match=f"names {name}, a file outside the folder"):
        read_record(path)


def test_checksums_are_sums_modulo_65536():
    samples = np.array([[-5, 30000], [2, 30000], [0, 30000]], dtype=np.int16)
    assert checksums(samples).tolist() == [65533, 90000 % 65536]
    assert int(checksums(samples[:, 1])) == 90000 % 65536


# --- annotations ------------------------------------------------------------------------------------------


def write_marks(folder, samples, symbols, **options):
    import_wfdb().wrann("rec", "atr", np.array(samples), symbols, write_dir=str(folder), **options)
    return folder / "rec"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fs": 360},  # written as a note at sample 0
        {"aux_note": ["(AFIB", "", "even", "x" * 255, ""]},
        {"num": np.array([0, 1, 127, 2, 2]), "chan": np.array([0, 1, 1, 0, 0])},
        {"subtype": np.array([0, -3, 0, 4, 0]), "aux_note": ["", "odd", "", "", "(N"]},
        {"custom_labels": [(10, "d", "dicrotic notch")]},
    ],
)
def test_marks_and_notes_are_those_that_wfdb_reads(tmp_path, options):
    symbols = ["+", "N", "d" if "custom_labels" in options else "V", "~", '"']
    path = write_marks(tmp_path, [0, 1023, 1024, 5_000_000, 5_000_000], symbols, **options)
    marks, notes = read_notes(path, "atr")
    found = import_wfdb().rdann(str(path), "atr")
    assert marks.samples.tolist() == found.sample.tolist() == [0, 1023, 1024, 5_000_000, 5_000_000]
    assert marks.symbols.tolist() == found.symbol == symbols
    assert notes == found.aux_note


def test_mark_that_goes_back_in_time_is_read(tmp_path):
    content = bytearray()
    for word in (1 << 10 | 100, 59 << 10, 0xFFFF, 0xFFCE, 5 << 10 | 7, 0):  # skip by -50
        content += word.to_bytes(2, "little")
    (tmp_path / "rec.atr").write_bytes(content)
    assert read_notes(tmp_path / "rec", "atr")[0].samples.tolist() == [100, 57]


def test_rhythms_last_until_the_next_change(tmp_path):
    wfdb = import_wfdb()
    wfdb.wrann(
        "rec",
        "atr",
        np.array([10, 20, 50, 70, 90]),
        ["+", "N", "+", "+", "+"],
        aux_note=["(N", "", "(AFIB", ")", "(AFL"],
        write_dir=str(tmp_path),
    )
    rhythms = read_annotations(tmp_path / "rec", samples=200).rhythms
    assert list(zip(*(part.tolist() for part in rhythms), strict=True)) == [
        (10, 50, "N"),
        (50, 70, "AFIB"),
        (90, 200, "AFL"),
    ]
    write_annotations(tmp_path / "none", [(5, "N")])
    assert len(read_annotations(tmp_path / "none").rhythms.name) == 0


@pytest.mark.parametrize(
    ("symbols", "waves"),
    [
        ("(p)(N)(t)", [(0, 1, 2, "P"), (3, 4, 5, "QRS"), (6, 7, 8, "T")]),
        ("N)(N)", [(-1, 0, 1, "QRS"), (2, 3, 4, "QRS")]),
        ("()()N", [(-1, 4, -1, "QRS")]),
        ("(Nu", [(0, 1, -1, "QRS"), (-1, 2, -1, "U")]),
        ("", []),
    ],
)
def test_waves_name_absent_boundaries(symbols, waves):
    found = find_waves(Marks(np.arange(len(symbols)), np.array(list(symbols), dtype="U1")), "II")
    assert list(zip(*(part.tolist() for part in found[:4]), strict=True)) == waves
    assert set(found.lead.tolist()) == ({"II"} if waves else set())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"file rec\.atr is missing"),
        (b"", "cut off"),
        (b"\x01", "cut off"),
        (b"\x01\x04\x10\xfc(N\0\0", "a mark does not end"),  # a note of 16 characters
        (b"\x02\xfc(N\0\0", "a mark does not end"),  # a note before any mark
        (b"\0\xec\0\0", "a mark does not end"),  # half a skip
        (b"\x01\x04\x01\0\0", "a mark does not end"),  # half a word
    ],
)
def test_annotations_that_are_damaged_name_the_record(tmp_path, content, message):
    if content is not None:
        (tmp_path / "rec.atr").write_bytes(content)
    with pytest.raises(RecordError, match=f"record .*rec: .*{message}"):
        read_annotations(tmp_path / "rec")

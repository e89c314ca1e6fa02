"""Signal files of WFDB records: every format, compared with wfdb, and layouts that wfdb does not read."""

import numpy as np
import pytest

from databases.wfdb_files import import_wfdb
from databases.wfdb_header import RecordError, read_header
from databases.wfdb_reader import read_channels, read_record
from databases.wfdb_signals import INVALID
from tests.helpers.wfdb_signals import FLAC, LIMITS, encode, write_signals

FORMATS = [*LIMITS, *FLAC]


def draw(fmt, shape, seed=0):
    rng = np.random.default_rng(seed)
    if fmt == "8":  # steps of a byte
        return np.cumsum(rng.integers(-100, 100, shape), axis=-1) + 500
    limit = 2 ** (int(fmt) - 501) - 1 if fmt in FLAC else LIMITS[fmt]
    return rng.integers(-limit, limit, shape, endpoint=True)


def read(path, **part):
    channels, notes = read_channels(read_header(path), **part)
    return np.stack([channel.values for channel in channels]), notes


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_format_is_read_as_wfdb_reads_it(tmp_path, fmt, count):
    signals = draw(fmt, (count, 101))
    write_signals(tmp_path, "rec", list(signals), fmt)
    values, notes = read(tmp_path / "rec")
    np.testing.assert_array_equal(values, signals / 100)
    assert notes == [f"checksums of {count} of {count} signals verified"]
    if fmt == "61":  # wfdb 4.3 fails on it
        return
    theirs = import_wfdb().rdrecord(str(tmp_path / "rec"), physical=False, smooth_frames=False)
    np.testing.assert_array_equal(np.stack(theirs.e_d_signal), signals)


@pytest.mark.parametrize("fmt", FORMATS)
def test_part_is_that_part_of_the_whole(tmp_path, fmt):
    signals = draw(fmt, (3, 64))
    write_signals(tmp_path, "rec", list(signals), fmt)
    for start, stop in [(0, 1), (1, 2), (5, 9), (13, 64), (63, 64), (2, None)]:
        values, _ = read(tmp_path / "rec", start=start, stop=stop)
        np.testing.assert_array_equal(values, signals[:, start:stop] / 100)
    values, _ = read(tmp_path / "rec", columns=[2, 0], start=7, stop=20)
    np.testing.assert_array_equal(values, signals[[2, 0], 7:20] / 100)


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt != "8"])
def test_invalid_sample_of_each_format_is_nan(tmp_path, fmt):
    signals = draw(fmt, (2, 20))
    signals[1, 4] = INVALID[fmt]
    write_signals(tmp_path, "rec", list(signals), fmt)
    values, _ = read(tmp_path / "rec")
    assert np.argwhere(np.isnan(values)).tolist() == [[1, 4]]


@pytest.mark.parametrize("fmt", ["16", "212", "310", "24"])
def test_signals_of_several_rates_begin_behind_a_prolog(tmp_path, fmt):
    fast, slow = draw(fmt, 120), draw(fmt, 40, 1)
    write_signals(tmp_path, "rec", [fast, slow], fmt, "20", [3, 1], offset=7)
    channels, _ = read_channels(read_header(tmp_path / "rec"))
    assert [channel.rate for channel in channels] == [60, 20]
    np.testing.assert_array_equal(channels[0].values, fast / 100)
    np.testing.assert_array_equal(channels[1].values, slow / 100)
    part, _ = read_channels(read_header(tmp_path / "rec"), start=9, stop=31)
    np.testing.assert_array_equal(part[0].values, fast[27:93] / 100)


def test_signals_of_several_files_and_formats(tmp_path):
    """Lines of one file need not follow each other: 0, 2 and 3 are in a.dat, 1 in b.dat."""
    first, second = draw("212", (3, 50)), draw("8", (1, 50))
    lines = write_signals(tmp_path, "a", list(first), "212")
    (other,) = write_signals(tmp_path, "b", list(second), "8")[1:]
    (tmp_path / "rec.hea").write_text("\n".join(["rec 4 100 50", lines[1], other, *lines[2:]]) + "\n")
    values, notes = read(tmp_path / "rec")
    np.testing.assert_array_equal(values, np.stack([first[0], second[0], first[1], first[2]]) / 100)
    assert notes == ["checksums of 4 of 4 signals verified"]


@pytest.mark.parametrize("fmt", ["16", "212", "8"])
def test_skew_shifts_a_signal_to_the_left(tmp_path, fmt):
    signals = draw(fmt, (2, 50))
    lines = write_signals(tmp_path, "rec", list(signals), fmt)
    lines[2] = lines[2].replace(f" {fmt} ", f" {fmt}:3 ")
    (tmp_path / "rec.hea").write_text("\n".join(lines))
    values, notes = read(tmp_path / "rec")
    np.testing.assert_array_equal(values[0], signals[0] / 100)
    np.testing.assert_array_equal(values[1, :47], signals[1, 3:] / 100)
    assert np.isnan(values[1, 47:]).all() and "aligned by the skew" in notes[-1]
    assert "checksums of 2 of 2 signals verified" in notes
    values, _ = read(tmp_path / "rec", start=10, stop=20)
    np.testing.assert_array_equal(values, np.stack([signals[0, 10:20], signals[1, 13:23]]) / 100)


def test_skew_of_several_rates_is_counted_in_frames(tmp_path):
    fast, slow = draw("16", 120), draw("16", 40, 1)
    lines = write_signals(tmp_path, "rec", [fast, slow], "16", "20", [3, 1])
    (tmp_path / "rec.hea").write_text("\n".join([lines[0], lines[1].replace("16x3", "16x3:2"), lines[2]]))
    channels, _ = read_channels(read_header(tmp_path / "rec"))
    np.testing.assert_array_equal(channels[0].values[:114], fast[6:] / 100)
    assert np.isnan(channels[0].values[114:]).all()


def test_length_is_taken_from_the_file_where_the_header_has_none(tmp_path):
    signals = draw("212", (3, 51))
    lines = write_signals(tmp_path, "rec", list(signals), "212")
    for first in ("rec 3 100 0", "rec 3 100", "rec 3 100 -1", "rec 3 100 many"):
        (tmp_path / "rec.hea").write_text("\n".join([first, *lines[1:]]))
        values, notes = read(tmp_path / "rec")
        np.testing.assert_array_equal(values, signals / 100)
        assert any("no number of samples: 51 taken from the size of the file" in note for note in notes)


def test_signal_without_a_file_is_left_out(tmp_path):
    signals = draw("16", (2, 50))
    lines = write_signals(tmp_path, "rec", list(signals))
    header = [lines[0].replace("rec 2", "rec 3"), "~ 0 100/mV 12 0 0 0 0 RESP", *lines[1:]]
    (tmp_path / "rec.hea").write_text("\n".join(header))
    values, notes = read(tmp_path / "rec")
    np.testing.assert_array_equal(values, signals / 100)
    assert "the header gives no file for RESP, which was left out" in notes


def test_file_that_is_too_long_is_said(tmp_path):
    write_signals(tmp_path, "rec", list(draw("16", (2, 50))))
    with open(tmp_path / "rec.dat", "ab") as file:
        file.write(bytes(40))
    assert any("rec.dat has 10 more samples than the header says" in n for n in read(tmp_path / "rec")[1])


@pytest.mark.parametrize("fmt", ["16", "212", "516"])
def test_file_that_is_too_short_is_read_as_far_as_it_is_needed(tmp_path, fmt):
    signals = draw(fmt, (2, 50))
    lines = write_signals(tmp_path, "rec", list(signals), fmt)
    if fmt in FLAC:
        (tmp_path / "rec.hea").write_text("\n".join(lines).replace("100 50", "100 60"))
    else:
        content = (tmp_path / "rec.dat").read_bytes()
        (tmp_path / "rec.dat").write_bytes(content[: len(content) * 4 // 5])
    with pytest.raises(RecordError, match=r"rec\.dat is truncated.*copy or download"):
        read(tmp_path / "rec")
    have = 50 if fmt in FLAC else 40
    values, notes = read(tmp_path / "rec", needed=have)
    np.testing.assert_array_equal(values[:, :have], signals[:, :have] / 100)
    assert np.isnan(values[:, have:]).all() and values.shape[1] == have + 10
    assert any("is truncated" in note for note in notes)


def test_checksums_filled_with_zeros_are_not_stated(tmp_path):
    signals = draw("16", (2, 50))
    lines = [line.split() for line in write_signals(tmp_path, "rec", list(signals))]
    for words in lines[1:]:
        words[5], words[6] = "0", "0"
    (tmp_path / "rec.hea").write_text("\n".join(" ".join(words) for words in lines))
    assert read(tmp_path / "rec")[1] == ["the header has no checksums, so the samples could not be verified"]
    lines[2][6] = "1"
    (tmp_path / "rec.hea").write_text("\n".join(" ".join(words) for words in lines))
    with pytest.raises(RecordError, match="checksum of lead lead1 is 1 in the header"):
        read(tmp_path / "rec")


def test_signal_that_differs_in_its_first_sample_is_said_where_no_checksum_decides(tmp_path):
    lines = [line.split() for line in write_signals(tmp_path, "rec", list(draw("16", (2, 50))))]
    lines[1][5] = "77"
    (tmp_path / "rec.hea").write_text("\n".join(" ".join(words) for words in lines))
    assert not any("begins" in note for note in read(tmp_path / "rec")[1])
    (tmp_path / "rec.hea").write_text("\n".join(" ".join(words[:6]) for words in lines))
    assert any("begins with" in n and "with 77 by the header" in n for n in read(tmp_path / "rec")[1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rec.dat 16 ", "rec.dat 999 ", r"signal format 999, which is not read; convert the record"),
        ("rec.dat 16 ", "rec.dat 16:-4 ", "negative skew for signal 1; correct the header"),
        ("rec.dat 16 100/mV 12 0", "rec.dat 212 100/mV 12 0", r"gives rec\.dat several formats"),
        ("rec 2 100 50", "rec 2 100 90000000000", r"rec\.dat is truncated"),
        ("rec.dat 16 ", "rec.dat 516 ", r"rec\.dat is not a readable FLAC file"),
        ("rec.dat 16 ", "~ 0 ", "gives no file for its signals"),
        ("rec 2 100 50", "rec 0 100 50", "lists no signal: it has annotations alone; choose another"),
        ("rec 2 100 50", "rec 3 100 50", "lists 2 of the 3 signals that it announces"),
    ],
)
def test_header_that_cannot_be_right_names_the_fault(tmp_path, old, new, message):
    text = "\n".join(write_signals(tmp_path, "rec", list(draw("16", (2, 50)))))
    everywhere = new.startswith(("~", "rec.dat 999", "rec.dat 516"))
    (tmp_path / "rec.hea").write_text(text.replace(old, new, -1 if everywhere else 1))
    with pytest.raises(RecordError, match=message):
        read(tmp_path / "rec")


def test_declared_length_is_refused_before_it_takes_memory(tmp_path):
    """A sparse file of 2 TB is as long as its header says."""
    (tmp_path / "rec.hea").write_text("rec 1 100 1000000000000\nrec.dat 16 100/mV 16 0 0 0 0 I\n")
    with open(tmp_path / "rec.dat", "wb") as file:
        file.truncate(2_000_000_000_000)
    with pytest.raises(RecordError, match=r"would take \d+ GB of memory.*; cut it into parts"):
        read(tmp_path / "rec")
    assert read_record(tmp_path / "rec", start=10**9, stop=10**9 + 50).signal.shape == (50, 1)


def test_encoder_of_the_tests_is_that_of_the_specification():
    assert encode([1, -1], "212") == bytes([0x01, 0xF0, 0xFF])
    assert encode([1, 2, 3], "310") == bytes([0x02, 0x18, 0x04, 0x00])
    assert encode([1, 2, 3], "311") == bytes([0x01, 0x08, 0x30, 0x00])
    assert encode([-2], "61") == b"\xff\xfe" and encode([0], "160") == b"\x00\x80"

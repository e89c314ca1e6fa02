"""Headers of WFDB records as people have them: read for what they say, and no further."""

import numpy as np
import pytest

from databases.wfdb_files import write_record
from databases.wfdb_header import RecordError, parse_header, read_header
from databases.wfdb_reader import read_channels, read_record

SAMPLES = np.arange(400, dtype=np.int16).reshape(200, 2)


@pytest.fixture
def path(tmp_path):
    write_record(tmp_path, "rec", SAMPLES, 100, ("I", "V1"))
    return tmp_path / "rec"


def text_of(path):
    return path.with_name(f"{path.name}.hea").read_text()


def write(path, text, encoding="utf-8"):
    path.with_name(f"{path.name}.hea").write_bytes(text.encode(encoding))


def check_values(path, factor=1000.0):
    channels, notes = read_channels(read_header(path))
    values = np.stack([channel.values for channel in channels], axis=1)
    np.testing.assert_allclose(values, SAMPLES / factor, atol=1e-9)
    return channels, notes


@pytest.mark.parametrize(
    "line",
    [
        "rec 2 100 200 2006",
        "rec 2 100 200 25:61:99 31/02/0000",
        "rec 2 100 200 ?? x x x",
        "rec 2 100/360(12.5) 200",
        "  rec   2\t100.0  200  ",
        "REC 2 1e2 200",
        "other 2 100 200",
        "records100/04000/rec 2 100 200",
        "records100\\04000\\rec 2 100 200",
    ],
)
def test_header_line_is_read_for_signals_rate_and_length(path, line):
    write(path, text_of(path).replace("rec 2 100 200", line))
    header = read_header(path)
    assert (header.sampling_rate, header.samples, header.leads) == (100, 200, ("I", "V1"))
    check_values(path)


@pytest.mark.parametrize("line", ["100 2 100 200", "records100/100 2 100 200", "100/x/100 2 100 200"])
def test_folder_in_the_name_is_not_a_number_of_segments(path, line):
    path.with_suffix(".hea").rename(path.with_name("100.hea"))
    path = path.with_name("100")
    write(path, text_of(path).replace("rec 2 100 200", line))
    header = read_header(path)
    assert header.segments == () and (header.sampling_rate, header.samples) == (100, 200)


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n\n"])
def test_comments_and_line_ends(path, newline):
    text = "# made by hand\n" + text_of(path).replace("\nrec.dat", "\n#Age: 5\nrec.dat", 1) + "# Sex: F\n"
    write(path, text.replace("\n", newline))
    check_values(path)
    assert read_header(path).comments == ("made by hand", "Age: 5", "Sex: F")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_micro_sign_and_names_of_any_encoding(path, encoding):
    text = text_of(path).replace("1000.0(0)/mV", "1(0)/µV").replace("V1", "V1 präkordial")
    write(path, f"# Größe: 180\n{text}", encoding)
    channels, _ = check_values(path, 1.0)
    assert [channel.unit for channel in channels] == ["µV", "µV"] and channels[1].name == "V1 präkordial"
    np.testing.assert_allclose(read_record(path).signal, SAMPLES / 1000, atol=1e-7)


def test_greek_mu_is_a_micro_sign(path):
    write(path, text_of(path).replace("1000.0(0)/mV", "1(0)/μV"))
    np.testing.assert_allclose(read_record(path).signal, SAMPLES / 1000, atol=1e-7)


@pytest.mark.parametrize(
    ("gain", "factor", "note"),
    [
        ("", 200, "gain"),
        (" 0", 200, "gain"),
        (" 0/mV", 200, "gain"),
        (" 500", 500, "unit"),
        (" 500/mV", 500, ""),
        (" 5e2(0)/mV", 500, ""),
        (" .5e3/mV 16", 500, ""),
        (" -500(0.0)/mV 16 0 0", -500, ""),
    ],
)
def test_gain_or_unit_that_is_absent_is_said_to_be_assumed(path, gain, factor, note):
    write(path, f"rec 2 100 200\nrec.dat 16{gain}\nrec.dat 16{gain}\n")
    channels, notes = check_values(path, factor)
    assert [channel.name for channel in channels] == ["channel 1", "channel 2"]
    assert any(f"no {note} for some signals" in n and "assumed" in n for n in notes) == bool(note)


def test_baseline_that_is_absent_is_the_zero_of_the_converter(path):
    text = text_of(path).replace("1000.0(0)/mV 16 0", "1000/mV 16 100")
    write(path, text)
    channels, _ = read_channels(read_header(path))
    np.testing.assert_allclose(channels[0].values, (SAMPLES[:, 0] - 100) / 1000)
    write(path, text.replace("1000/mV 16 100", "1000(7)/mV 16 100"))
    channels, _ = read_channels(read_header(path))
    np.testing.assert_allclose(channels[0].values, (SAMPLES[:, 0] - 7) / 1000)


@pytest.mark.parametrize("gain", ["abc/mV", "1000mV", "nan/mV", "1e999/mV", "1000(x)/mV", "1,000/mV"])
def test_gain_that_cannot_be_read_is_never_the_default(path, gain):
    write(path, text_of(path).replace("1000.0(0)/mV", gain))
    with pytest.raises(RecordError, match=r"is not a gain and unit \(signal 1\); correct it in the header"):
        read_header(path)


@pytest.mark.parametrize("name", ["mit gap", "x.y", "rec 16 b", "ä", "100"])
def test_names_with_spaces_dots_and_digits(tmp_path, name):
    write_record(tmp_path, "rec", SAMPLES, 100, ("I", "V1"))
    (tmp_path / "rec.dat").rename(tmp_path / f"{name}.dat")
    write(tmp_path / name, text_of(tmp_path / "rec").replace("rec", name))
    check_values(tmp_path / name)


@pytest.mark.parametrize("name", ["./rec.dat", "deep/er/rec.dat", ".\\rec.dat", "REC.DAT", "./a/Rec.dat"])
def test_signal_file_is_found_beside_the_header(path, name):
    write(path, text_of(path).replace("rec.dat", name))
    check_values(path)


def test_signal_file_in_a_subfolder(path):
    (path.parent / "deep").mkdir()
    path.with_suffix(".dat").rename(path.parent / "deep" / "rec.dat")
    write(path, text_of(path).replace("rec.dat", "deep/rec.dat"))
    check_values(path)


def test_endings_in_upper_case(path):
    path.with_suffix(".hea").rename(path.with_suffix(".HEA"))
    path.with_suffix(".dat").rename(path.with_suffix(".DAT"))
    check_values(path)


@pytest.mark.parametrize(
    "name", ["../x/rec.dat", "/etc/passwd", "C:/rec.dat", "a/../../rec.dat", "\\\\host\\x"]
)
def test_file_outside_the_folder_is_refused(path, name):
    write(path, text_of(path).replace("rec.dat", name))
    with pytest.raises(RecordError, match="outside the folder of the record; put the file beside the header"):
        read_header(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"rec\.hea is empty"),
        ("# only a comment\n", r"rec\.hea is empty"),
        ("hello\nworld\n", "its first line is 'hello'"),
        ("rec 2 100 200\nrec.dat\nrec.dat\n", "'rec.dat' in the header is not a file and its format"),
        ("rec/2 2 100 200\nseg\n", "lists 1 of the 2 segments"),
        ("rec/1 2 100 200\nseg x\n", "'seg x' in the header is not a segment and its length"),
        ("rec/1 2 100 200\n../seg 200\n", r"names \.\./seg\.hea, a file outside the folder"),
        ("\0\1\2", "holds binary data"),
        ("x" * 5_000_000, "more than 4 MB"),
    ],
)
def test_text_that_is_not_a_header(path, text, message):
    write(path, text)
    with pytest.raises(RecordError, match=message):
        parse_header(path)


def test_lines_beyond_the_stated_signals_are_said(path):
    write(path, text_of(path) + text_of(path).splitlines()[1])
    assert (
        "the header has 3 lines for 2 signals: the others were ignored" in read_channels(read_header(path))[1]
    )

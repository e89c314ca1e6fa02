"""Tables of text as programs and people write them, and the names that they give to leads."""

import codecs
import time

import numpy as np
import pytest

from preprocessing.recordings.ecg_csv import split_unit
from preprocessing.recordings.external import read_recording
from preprocessing.recordings.lead_names import READY, read_name
from tests.helpers.ecg_files import has_note, make_signals
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, TwelveLeadError, UsageError

RATE = 100
SIGNALS = make_signals(RATE)
TIMES = np.arange(len(SIGNALS)) / RATE
PLAIN_TIMES = tuple(f"{t:.3f}" for t in TIMES)
UV = [f"{name} (uV)" for name in DISPLAY_NAMES]


def clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000 % 24:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def table(
    separator=",",
    names=DISPLAY_NAMES,
    first="time",
    times=PLAIN_TIMES,
    signals=SIGNALS,
    digits=3,
    decimal=".",
    above="",
    below="",
):
    """Text of a table; `first` is the heading of the column of times, empty for none."""
    lines = [separator.join([first, *names] if first else names)]
    for cell, row in zip(times, signals, strict=True):
        cells = [f"{value:.{digits}f}" for value in row]
        lines.append(separator.join([cell, *cells] if first else cells).replace(".", decimal))
    return above + "\n".join(lines) + "\n" + below


def lines_of(name, change):
    """The plain table with each of its lines changed: ``change(number, line)``."""
    return "\n".join(change(number, line) for number, line in enumerate(table().splitlines()))


def in_rows(separator=",", unit="", scale=1, digits=3):
    cells = [[f"{scale * value:.{digits}f}" for value in column] for column in SIGNALS.T]
    units = [unit] if unit else []
    return [separator.join([n, *units, *row]) for n, row in zip(DISPLAY_NAMES, cells, strict=True)]


def read(tmp_path, content, name="x.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_recording(path, **options)


STATES_ITS_RATE = {
    "pipes": table("|"),
    "tabs": table("\t"),
    "spaces": table("   "),
    "spaces and decimal commas": table(" ", decimal=","),
    "tabs and decimal commas": table("\t", decimal=","),
    "whole numbers": table(";", UV, signals=1000 * SIGNALS, digits=0),
    "UTF-16": table("\t").encode("utf-16"),
    "UTF-16 without a mark": table().encode("utf-16-le"),
    "big-endian UTF-16": codecs.BOM_UTF16_BE + table().encode("utf-16-be"),
    "UTF-8 with a mark": table().encode("utf-8-sig"),
    "Latin-1": table(names=[f"{n} [µV]" for n in DISPLAY_NAMES], signals=1000 * SIGNALS).encode("latin-1"),
    "Greek mu": table(names=[f"{n} (\u03bcV)" for n in DISPLAY_NAMES], signals=1000 * SIGNALS),
    "CRLF": table().replace("\n", "\r\n"),
    "CR": table().replace("\n", "\r"),
    "sep line": "sep=;\n" + table(";", decimal=","),
    "sep line in quotes": '"sep=|"\r\n' + table("|"),
    "sep line with a tab": "sep=\t\n" + table("\t"),
    "units row": lines_of("units", lambda i, line: line + "\ns" + ",mV" * 12 if i == 0 else line),
    "double quotes": lines_of("quotes", lambda i, line: '"' + line.replace(",", '","') + '"'),
    "decimal commas in quotes": lines_of(
        "both", lambda i, line: '"' + line.replace(",", '","').replace(".", ",") + '"'
    ),
    "single quotes": lines_of("single", lambda i, line: "'" + line.replace(",", "','") + "'"),
    "headings of two lines": table(names=[f'"{name}\n(mV)"' for name in DISPLAY_NAMES]),
    "delimiter at the end": table().replace("\n", ",\n"),
    "empty lines": table().replace("\n", "  \n\n"),
    "times of day": table(times=[clock(t) for t in TIMES]),
    "times over midnight": table(times=[clock(86395 + t) for t in TIMES]),
    "minutes": table(times=[clock(t)[3:] for t in TIMES]),
    "dates that are not ISO": table(times=[f"01/05/2024 {clock(3600 + t)}" for t in TIMES]),
    "dates in brackets": table(times=[f"[{clock(3600 + t)} 01/05/2024]" for t in TIMES]),
    "ISO dates": table(times=[f"2024-05-01T{clock(t)}Z" for t in TIMES]),
    "rdsamp": table("\t", first="Elapsed time", times=[clock(t) for t in TIMES]).replace(
        "\n", "\n" + "\t".join(["hh:mm:ss.mmm"] + ["mV"] * 12) + "\n", 1
    ),
    "date and time": lines_of("dates", lambda i, line: ("date," if i == 0 else "2024-05-01,") + line),
    "two lines of headings": lines_of(
        "headings", lambda i, line: line + "\nclock" + ",filtered" * 12 if i == 0 else line
    ),
    "minus signs of typesetters": table().replace("-", "\u2212"),
    "units row in brackets": lines_of(
        "units", lambda i, line: line + "\n[s]" + ",[mV]" * 12 if i == 0 else line
    ),
    "preamble": table(above="Patient,X\nSampling rate,100 Hz\nUnits,mV\n\n"),
    "preamble of comments": table(first="# time", above="# device: X\n# fs: 100\n# unit = mV\n"),
    "rate above": table(first="", above="Sample Rate,100 hertz\nUnit,µV\n\n", signals=1000 * SIGNALS),
    "rate above in kHz": table(first="", above="Sampling rate: 0.1 kHz\n"),
    "interval above": table(";", first="", above="Sampling interval (ms);10\n"),
    "footer": table(below="\nTotal samples,1000\nEnd of data,,,\n"),
    "text columns": lines_of(
        "text", lambda i, line: f"{line},label,remark" if i == 0 else f'{line},NORM,"a, b"'
    ),
    "rows with times": "\n".join(["time," + ",".join(f"{t:.2f}" for t in TIMES), *in_rows()]),
}
NEEDS_A_RATE = {
    "index": "\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(table(first="").splitlines())),
    "sample numbers": table(first="sample", times=[str(i) for i in range(len(SIGNALS))]),
    "row names of R": "\n".join(
        f'"{i}" {line}' if i else line for i, line in enumerate(table(" ", first="").splitlines())
    ),
    "times to the second": table(times=[clock(t)[:8] for t in TIMES]),
    "leads in rows": "\n".join(in_rows()),
    "rows with units": "\n".join(
        ["lead;unit;" + ";".join(map(str, range(len(SIGNALS)))), *in_rows(";", "uV", 1000, 0)]
    ),
}
NUMBERED = ",".join(map(str, range(12)))
NEEDS_LEADS = {
    "columns 0 to 11": table(first="").replace(",".join(DISPLAY_NAMES), NUMBERED),
    "no header": table(first="").partition("\n")[2],
    "rows without names": "\n".join(line.partition(",")[2] for line in in_rows()),
}


@pytest.mark.parametrize("name", STATES_ITS_RATE)
def test_table_that_states_its_rate_is_read(tmp_path, name):
    recording = read(tmp_path, STATES_ITS_RATE[name])
    assert recording.sampling_rate == RATE
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)


@pytest.mark.parametrize("name", NEEDS_A_RATE)
def test_table_without_a_rate_is_read_with_the_option(tmp_path, name):
    with pytest.raises(TwelveLeadError, match="--sampling_rate"):
        read(tmp_path, NEEDS_A_RATE[name])
    np.testing.assert_allclose(
        read(tmp_path, NEEDS_A_RATE[name], sampling_rate=RATE).signal, SIGNALS, atol=1e-6
    )


@pytest.mark.parametrize("name", NEEDS_LEADS)
def test_table_without_lead_names_offers_the_option(tmp_path, name):
    with pytest.raises(DataError, match=f"--leads {READY}" if "rows" not in name else "--leads I,II"):
        read(tmp_path, NEEDS_LEADS[name], sampling_rate=RATE)
    recording = read(tmp_path, NEEDS_LEADS[name], sampling_rate=RATE, leads=READY)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)


@pytest.mark.parametrize("ending", ["tsv", "txt", "dat.csv"])
def test_table_is_read_whatever_its_ending(tmp_path, ending):
    np.testing.assert_allclose(read(tmp_path, table("\t"), f"x.{ending}").signal, SIGNALS, atol=1e-6)


def test_table_says_what_it_left_out(tmp_path):
    recording = read(tmp_path, table(above="Patient,X\nUnits,mV\n", below="Total,1000\n"))
    assert has_note(recording, r"Lines above the header were left out \(2\), of which mV was read")
    assert has_note(recording, r"Lines after the samples were left out \(1\): Total 1000")
    assert has_note(read(tmp_path, STATES_ITS_RATE["text columns"]), "ignored: label, remark")
    assert has_note(read(tmp_path, NEEDS_A_RATE["index"], sampling_rate=RATE), "'' counts the samples")
    notes = read(tmp_path, NEEDS_A_RATE["times to the second"], sampling_rate=RATE)
    assert has_note(notes, "times of the column 'time' are rounded and agree with --sampling_rate")


def test_table_rates_have_to_agree(tmp_path):
    text = table(above="Sampling rate: 250 Hz\n")
    with pytest.raises(UsageError, match="state 250 Hz, but the time column gives 100 Hz; say which"):
        read(tmp_path, text)
    assert has_note(
        read(tmp_path, text, sampling_rate=100), "states both 250 Hz and, by its time column, 100 Hz"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table()[:-30], r"line 1001: \d+ cells where the header has 13; the file ends within this line"),
        (table().replace("5.000,", "5.000,,", 1), "line 502: 14 cells where the header has 13$"),
        ('"' + table(), r"line 1: a quotation mark \(\"\) is never closed"),
        ("Name,X\nSample Rate,512 hertz\n\n" + "1.5\n" * 100, "no line has numbers in two or more columns"),
        ("<html>404, not found; 1,2,3,4,5,6,7,8</html>", "line 1: above the first numbers no line names"),
        ("hello world\nand, more", "the first line is 'hello world'"),
        ("\n\n", "the file is empty"),
        (table().replace("0.1", "0\0.1", 1), "is not plain text"),
        (table(times=["noon"] * 1000), "'noon' is neither a number, nor a time"),
        (table(";", decimal=",").replace(",1", ".1", 9), "both decimal points and decimal commas"),
        (table(decimal=","), "line 2: 26 cells where the header has 13: decimal commas cannot be told"),
    ],
)
def test_table_that_cannot_be_read_is_told_truly(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert "cut" not in str(caught.value) and "again" not in str(caught.value)


@pytest.mark.parametrize(
    "heading",
    ["(", "a [", " ", '"', "LEAD_", "1", "1:2", "mV ", "=:", "sample rate 1", ")", "\u0130", "%s_"],
)
def test_long_text_in_a_table_is_read_in_linear_time_and_cut_in_errors(tmp_path, heading):
    start = time.process_time()
    heading *= 100_000 // len(heading)
    for text in (f"{heading},I,II\n0.1,0.2,0.3\n", f"I,II,III\n0.1,0.2,{heading}\n0.1,0.2,0.3\n"):
        with pytest.raises(TwelveLeadError) as caught:
            read(tmp_path, text)
        assert len(str(caught.value)) < 1500
    assert time.process_time() - start < 20  # a quadratic pattern takes minutes


@pytest.mark.parametrize(
    ("cell", "name", "unit"),
    [
        ("I (mV)", "I", "mV"),
        ("V1 [uV]", "V1", "uV"),
        ("time_ms", "time", "ms"),
        ("II, mV", "II", "mV"),
        ("t(ms)", "t", "ms"),
        ("aVR/uV", "aVR", "uV"),
        ("Lead V", "Lead V", ""),
        ("(mV)", "(mV)", ""),
    ],
)
def test_heading_holds_name_and_unit(cell, name, unit):
    assert split_unit(cell) == (name, unit)


@pytest.mark.parametrize(
    ("names", "lead"),
    [
        (
            [
                "LA-RA",
                "ECG L-R",
                "Derivação I",
                "DI",
                "D1",
                "I-REF",
                "Lead I",
                "ECG I",
                "LEADI",
                "i",
                "Ableitung I",
                "MLI",
                "EKG I-Ref",
            ],
            "I",
        ),
        (["LL-RA", "F-R", "DII", "D2", "MLII", "ML II", "MDC_ECG_LEAD_II", "LII"], "II"),
        (["C1", "V.1", "V 1", "V-1", "V_1", "ECG V1-Ref", "CH V1"], "V1"),
        (["aV.R", "AVR", "ECG-aVR", "aVR-REF", "+aVR"], "AVR"),
    ],
)
def test_lead_names_as_people_write_them(names, lead):
    for name in names:
        result = read_name(name)
        assert result is not None and (result.lead, result.inverted) == (lead, False), name


def test_leads_named_upside_down_are_turned_over(tmp_path):
    signals = SIGNALS.copy()
    signals[:, 3] *= -1
    for minus in ("-", "\u2212", "Lead -"):
        names = [name.replace("aVR", f"{minus}aVR") for name in DISPLAY_NAMES]
        recording = read(tmp_path, table(names=names, signals=signals))
        np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
        assert has_note(recording, "turned over: .*aVR as aVR")


def test_lead_names_of_other_devices_are_mapped_with_a_note(tmp_path):
    names = ["Lead 1", "Lead 2", "Lead 3", "aVR", "aVL", "aVF", *(f"C{i}" for i in range(1, 7))]
    recording = read(tmp_path, table(names=names))
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "Lead names were read so: Lead 1 as I, .*C1 as V1, .*C6 as V6")


def test_eeg_electrodes_are_not_chest_leads(tmp_path):
    text = table(names=[*DISPLAY_NAMES, "C3", "C4"], signals=np.column_stack([SIGNALS, SIGNALS[:, :2]]))
    recording = read(tmp_path, text)
    np.testing.assert_allclose(recording.signal, SIGNALS, atol=1e-6)
    assert has_note(recording, "ignored: C3, C4")


def test_leads_that_are_missing_come_with_a_line_to_copy(tmp_path):
    with pytest.raises(DataError, match=r"--leads I,II,III,aVR,aVL,aVF,V1,\?,V3,V4,V5,V6 \(a lead or - for"):
        read(tmp_path, table(names=["X2" if name == "V2" else name for name in DISPLAY_NAMES]))


@pytest.mark.parametrize(
    ("case", "options"),
    [
        *((f"09_csv/{name}.csv", {}) for name in ("atm", "atm_hms", "footer", "greek_mu", "hms", "meta")),
        *((f"09_csv/{name}.csv", {}) for name in ("sep_line", "unitsrow")),
        *((f"09_csv/{name}.csv", {"sampling_rate": 100}) for name in ("label", "transposed_names")),
        ("09_csv/noidx_cols.csv", {"sampling_rate": 100, "leads": READY}),
        *((f"17_lead_names/{name}", {}) for name in ("C_names.csv", "D_names.csv", "dots.csv", "ref.edf")),
        ("16_other_formats/plain.tsv", {}),
        ("11_folder/real/d.txt", {}),
    ],
)
def test_case_reads_as_the_record_it_was_made_from(shared_data, case, options):
    record = read_recording(shared_data / "sample" / "04827_lr")
    path = shared_data.parent / "cases" / case
    if not path.exists():
        pytest.skip(f"no {path}")
    np.testing.assert_allclose(read_recording(path, **options).signal, record.signal, atol=0.0002)

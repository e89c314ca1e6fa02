"""Databases in another layout, and damaged ones: read right, or refused with the record and its fault."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databases.ptbxl_signals import parse_plain_header
from preprocessing import load_ptbxl
from tests.helpers.ptbxl_files import write_record, write_small_ptbxl
from utils.ecg import LEADS
from utils.errors import DataError


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_small_ptbxl(tmp_path_factory.mktemp("database") / "ptb", records=40)


@pytest.fixture
def database(written, tmp_path) -> Path:
    """A private copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "ptb"))


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# ---------------------------------------------------------------- other layouts go through wfdb


@pytest.mark.parametrize(
    ("fmt", "dtype", "gain", "units_per_microvolt", "baseline", "reverse"),
    [
        (16, "<i2", "1000(0)/mV", 1, 0, True),  # only the order of the leads differs
        (16, "<i2", "1/uV", 1, 0, False),
        (16, "<i2", "1000(25)/mV", 1, 25, True),
        (32, "<i4", "2000/mV", 2, 0, False),
    ],
)
def test_record_of_another_lead_order_gain_unit_and_format_is_read(
    database, fmt, dtype, gain, units_per_microvolt, baseline, reverse
):
    expected = load_ptbxl(database, task="all").signals.raw(slice(None))
    record = database / "records100/00000/00003_lr"
    leads = LEADS[::-1] if reverse else LEADS
    stored = expected[2].astype(np.int64) * units_per_microvolt + baseline
    stored = stored[:, ::-1] if reverse else stored
    lines = ["00003_lr 12 100 1000"]
    lines += [
        f"00003_lr.dat {fmt} {gain} 16 0 {stored[0, i]} {stored[:, i].sum() % 65536} 0 {lead}"
        for i, lead in enumerate(leads)
    ]
    record.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    record.with_suffix(".dat").write_bytes(stored.astype(dtype).tobytes())
    assert parse_plain_header(record.with_suffix(".hea").read_bytes(), record.name) is None
    np.testing.assert_array_equal(load_ptbxl(database, task="all").signals.raw(slice(None)), expected)


def test_database_in_another_layout_is_read(tmp_path):
    folder = write_small_ptbxl(tmp_path / "ptb", records=20)
    expected = load_ptbxl(folder, task="all").signals[:]
    for header in folder.rglob("*.hea"):
        header.write_text(header.read_text() + "# a comment\n")
    np.testing.assert_array_equal(load_ptbxl(folder, task="all").signals[:], expected)


def test_wfdb_path_checks_as_much_as_the_direct_one(database, tmp_path):
    record = database / "records100/00000/00002_lr"
    rewrite(record.with_suffix(".hea"), " V6", " V6\n# a comment")
    assert parse_plain_header(record.with_suffix(".hea").read_bytes(), "00002_lr") is None
    flip_byte(record)
    with pytest.raises(DataError, match=r"ecg_id 2, .*checksum of lead"):
        load_ptbxl(database, cache_dir=tmp_path)


# ---------------------------------------------------------------- damage


def flip_byte(record: Path) -> None:
    data = bytearray(record.with_suffix(".dat").read_bytes())
    data[5003] ^= 0x10
    record.with_suffix(".dat").write_bytes(data)


def truncate(record: Path) -> None:
    record.with_suffix(".dat").write_bytes(record.with_suffix(".dat").read_bytes()[:-24])


def append(record: Path) -> None:
    record.with_suffix(".dat").write_bytes(record.with_suffix(".dat").read_bytes() + b"\0\0")


def shift_two_samples(record: Path) -> None:
    """Two changes of one lead that cancel in the checksum: only the initial value tells."""
    samples = np.fromfile(record.with_suffix(".dat"), dtype="<i2").reshape(-1, 12)
    samples[0, 3] += 1
    samples[1, 3] -= 1
    samples.tofile(record.with_suffix(".dat"))


def mark_invalid(record: Path) -> None:
    samples = np.fromfile(record.with_suffix(".dat"), dtype="<i2").reshape(-1, 12)
    samples[500, 11] = -32768
    write_record(record, samples, 100)  # with the right checksum


def eight_leads(record: Path) -> None:
    lines = record.with_suffix(".hea").read_text().splitlines()
    lines[0] = lines[0].replace(" 12 ", " 8 ")
    record.with_suffix(".hea").write_text("\n".join(lines[:9]) + "\n")


def five_seconds(record: Path) -> None:
    write_record(record, np.fromfile(record.with_suffix(".dat"), dtype="<i2").reshape(-1, 12)[:500], 100)


def other_rate(record: Path) -> None:
    rewrite(record.with_suffix(".hea"), "_lr 12 100 1000", "_lr 12 500 1000")


def other_samples(record: Path) -> None:
    rewrite(record.with_suffix(".hea"), "_lr 12 100 1000", "_lr 12 100 999")


def wrong_lead_name(record: Path) -> None:
    rewrite(record.with_suffix(".hea"), " V6", " V7")


def garbage_header(record: Path) -> None:
    record.with_suffix(".hea").write_bytes(b"\xff\xfe not a header \x00\n")


def empty_header(record: Path) -> None:
    record.with_suffix(".hea").write_bytes(b"")


def huge_numbers(record: Path) -> None:
    rewrite(record.with_suffix(".hea"), "_lr 12 100 1000", "_lr 12 100 99999999999")


def no_dat(record: Path) -> None:
    record.with_suffix(".dat").unlink()


def no_header(record: Path) -> None:
    record.with_suffix(".hea").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_byte, r"\.dat: checksum differs from the header in lead AVF"),
        (truncate, r"\.dat: has only 23976 bytes, its header asks for 24000"),
        (append, r"\.dat: has more than 24000 bytes"),
        (shift_two_samples, r"\.dat: first sample differs from the header in lead AVR"),
        (mark_invalid, r"\.dat: samples marked as invalid \(-32768\) in lead V6"),
        (eight_leads, r"\.hea: has no lead V3, V4, V5, V6 "),
        (five_seconds, r"\.hea: header says 500 samples, the other records have 1000"),
        (other_rate, r"\.hea: header says 500 Hz, expected 100 Hz"),
        (other_samples, r"\.hea: header says 999 samples"),
        (wrong_lead_name, r"\.hea: has no lead V6 \(it has I, "),
        (garbage_header, r"\.hea: not a readable WFDB record"),
        (empty_header, r"\.hea: not a readable WFDB record"),
        (huge_numbers, r"\.hea: 00007_lr\.dat is truncated: 2399999999976 bytes expected"),
        (no_dat, r"\.dat: missing"),
        (no_header, r"\.hea: missing"),
    ],
)
def test_record_that_is_damaged_is_named_with_its_fault(database, tmp_path, damage, reason):
    damage(database / "records100/00000/00007_lr")
    with pytest.raises(
        DataError, match=r"1 of 40 records .*\n  ecg_id 7, records100/00000/00007_lr" + reason
    ):
        load_ptbxl(database, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_records_that_are_damaged_are_listed_together(database, tmp_path):
    damages = [flip_byte, truncate, no_dat, other_rate]
    for k in range(1, 14):
        damages[k % 4](database / f"records100/00000/{k:05d}_lr")
    with pytest.raises(DataError) as error:
        load_ptbxl(database, cache_dir=tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("13 of 40 records")
    assert [line.split()[1] for line in lines[1:11]] == [f"{k}," for k in range(1, 11)]
    assert lines[11].strip() == "... and 3 more"


def test_records_all_damaged_are_an_error_too(database, tmp_path):
    for header in database.rglob("*.hea"):
        header.write_bytes(b"")
    with pytest.raises(DataError, match="40 of 40 records"):
        load_ptbxl(database, cache_dir=tmp_path)


def test_folder_or_tables_missing_say_what_to_do(database, tmp_path):
    with pytest.raises(DataError, match=r"does not exist: download it with"):
        load_ptbxl(tmp_path / "nowhere")
    with pytest.raises(DataError, match="use that folder"):
        load_ptbxl(database.parent)
    (database / "scp_statements.csv").rename(database / "other.csv")
    with pytest.raises(DataError, match=r"has no scp_statements\.csv"):
        load_ptbxl(database)


def test_table_that_may_not_be_read_is_not_to_be_downloaded_again(database, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pandas.read_csv", refuse)
    with pytest.raises(
        DataError, match=r"ptbxl_database\.csv cannot be read: Permission denied; check"
    ) as error:
        load_ptbxl(database)
    assert "download" not in str(error.value)
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(DataError, match=r"ptb cannot be read: Permission denied; check its permissions"):
        load_ptbxl(database)


def test_recording_that_cannot_be_looked_at(database):
    path = database / "ptbxl_database.csv"
    table = pd.read_csv(path)
    table.loc[3, "filename_lr"] = "x" * 300
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"x\.hea cannot be read: File name too long"):
        load_ptbxl(database)


@pytest.mark.parametrize("column", ["patient_id", "scp_codes", "strat_fold", "filename_lr", "ecg_id"])
def test_column_that_is_missing_is_named(database, column):
    path = database / "ptbxl_database.csv"
    pd.read_csv(path).rename(columns={column: "other"}).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"no column {column}"):
        load_ptbxl(database)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("strat_fold", 11, "strat_fold is not a whole number from 1 to 10"),
        ("strat_fold", "ten", "strat_fold is not a whole number from 1 to 10"),
        ("patient_id", None, "patient_id is not a whole number"),
        ("filename_lr", None, "filename_lr is empty for 1 records"),
        ("scp_codes", "{'NORM': 100.0", "scp_codes of ecg_id 4"),
        ("scp_codes", "__import__('os').getcwd()", "scp_codes of ecg_id 4"),
        ("scp_codes", "['NORM']", "scp_codes of ecg_id 4"),
        ("scp_codes", "{'NORM': 170}", "likelihood from 0 to 100"),
        ("scp_codes", "{'NORM': 1e400}", "likelihood from 0 to 100"),
        ("scp_codes", "{'NORM': 1" + 400 * "0" + "}", "scp_codes of ecg_id 4"),
        ("filename_lr", "../outside/00001_lr", "filename_lr names a file outside the folder"),
        ("filename_lr", "/etc/passwd", "filename_lr names a file outside the folder"),
        ("filename_lr", "records100/00\0_lr", "filename_lr names a file outside the folder"),
        ("scp_codes", None, "scp_codes of ecg_id 4"),
        ("ecg_id", 3, "lists ecg_id 3 twice"),
    ],
)
def test_table_with_an_impossible_value_names_the_record(database, column, value, message):
    path = database / "ptbxl_database.csv"
    table = pd.read_csv(path, dtype=object)
    table.loc[3, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=message) as error:
        load_ptbxl(database)
    assert "4" in str(error.value) or column == "ecg_id"


@pytest.mark.parametrize("value", ["2", "x", "nan1", "-1"])
def test_statement_with_a_damaged_flag_is_refused(database, value):
    path = database / "scp_statements.csv"
    table = pd.read_csv(path, index_col=0, dtype=object)
    table.loc["SR", "rhythm"] = value
    table.to_csv(path)
    with pytest.raises(DataError, match=r"scp_statements\.csv holds another value than 1 .*\(SR\)"):
        load_ptbxl(database)


def test_empty_and_binary_tables(database):
    path = database / "ptbxl_database.csv"
    header = path.read_text().splitlines()[0]
    for content, message in [
        (b"", "not a readable CSV"),
        (b"\xff\xfe\x00\x81", "CSV|no column"),
        (header.encode(), "no record"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_ptbxl(database)

"""Files that were answered wrongly in silence, or refused for another reason than the true one."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.limb_leads import derive_limb_leads
from preprocessing.recordings.search import locate, search_recordings
from preprocessing.transforms.resample import resample
from tests.helpers.ecg_files import SIGNALS, has_note, write_csv, write_wfdb
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, UsageError

READY = {"sampling_rate": 100, "units": "mV"}


@pytest.fixture
def real(shared_data):
    """A real ECG, (1000, 12) in mV."""
    return read_recording(shared_data / "sample" / "04827_lr").signal.astype(np.float64)


def use(folder, signals, **options):
    np.save(folder / "x.npy", signals)
    return prepare(read_recording(folder / "x.npy", **(READY | options), start=0, seconds=10), 100, 1000)


@pytest.mark.parametrize("level", [1.0, 10.24, -300.0])
def test_constant_offset_is_subtracted_with_a_note(tmp_path, real, level):
    offset = level * (np.arange(12) == 6)
    recording = use(tmp_path, real + offset)
    assert has_note(recording, r"Constant offsets were subtracted: V1 ")
    np.testing.assert_allclose(recording.signal, real, atol=0.03)


def test_usual_level_is_left_alone(tmp_path, real):
    np.testing.assert_allclose(use(tmp_path, real).signal, real, atol=1e-6)


@pytest.mark.parametrize(
    ("leads", "factor", "named"),
    [(slice(6, 12), 0.1, "V1, V2, V3, V4, V5, V6"), (slice(0, 6), 10.0, "I, II, III, aVR, aVL, aVF")],
)
def test_group_of_leads_in_another_unit_is_named(tmp_path, real, leads, factor, named):
    real[:, leads] *= factor
    assert has_note(use(tmp_path, real), rf"WARNING: leads {named}, 0 to 10 s: out of scale")


@pytest.mark.parametrize(("true", "minutely"), [(200, 35), (400, 17)])
def test_rate_that_is_too_low_is_doubted(tmp_path, real, true, minutely):
    stretched = resample(real, 100, true)  # 100 Hz are given for it
    assert has_note(use(tmp_path, stretched), rf"WARNING: the sampling rate of 100 Hz .* {minutely} beats")


def test_rate_that_is_right_is_not_doubted(tmp_path, real):
    assert not has_note(use(tmp_path, real), "sampling rate of")
    assert not has_note(use(tmp_path, resample(real, 100, 250), sampling_rate=250), "sampling rate of")


def test_noise_that_satisfies_the_identities_is_refused(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.3, (1000, 12))
    noise[:, 2:6] = np.column_stack(list(derive_limb_leads(noise[:, 0], noise[:, 1]).values()))
    with pytest.raises(DataError, match=r"does not look like an ECG.*record again$"):
        use(tmp_path, noise)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x: np.where(np.arange(12) == 3, x[:, [4]], x), "aVR and aVL hold the same signal"),
        (lambda x: x.round(1), r"in steps of 0\.1 mV, too coarse to tell"),
        (
            lambda x: x + 0.1 * np.sin(np.arange(len(x)) * 0.4 * np.pi)[:, None] * (np.arange(12) == 3),
            "noise or mains in single limb leads may break them",
        ),
    ],
)
def test_contradiction_of_limb_leads_names_its_cause(tmp_path, real, change, cause):
    with pytest.raises(DataError, match=f"contradict each other.*{cause}"):
        use(tmp_path, change(real))


def grouped(mark):
    return [[f"{value:,.0f}".replace(",", mark) for value in row] for row in SIGNALS[:600] * 1000]


def write_rows(path, rows, names=DISPLAY_NAMES, mark=";"):
    path.write_text("\n".join(mark.join(row) for row in [list(names), *rows]) + "\n")
    return path


@pytest.mark.parametrize("mark", [".", ","])
def test_separators_of_thousands_are_not_read_as_decimals(tmp_path, mark):
    path = write_rows(tmp_path / "x.csv", grouped(mark))
    with pytest.raises(DataError, match="looks like one with a separator of thousands"):
        read_recording(path, sampling_rate=500, units="uV")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1,234.50", "line 2 holds '1,234.50'.*without separators of thousands"),
        ("1'234.50", "without separators of thousands"),
        ('="0.125"', "no formulas or texts"),
        ("1.25D-01", r"line 2 holds '1\.25D-01', which is not read as a number; write it as"),
    ],
)
def test_cells_that_are_not_numbers_are_shown(tmp_path, cell, said):
    with pytest.raises(DataError, match=said):
        read_recording(write_rows(tmp_path / "x.csv", [[cell] * 12] * 20), sampling_rate=500)


def test_sep_line_of_another_delimiter_is_ignored(tmp_path):
    path = write_csv(tmp_path / "x.csv", delimiter=";")
    path.write_text("sep=,\n" + path.read_text())
    np.testing.assert_allclose(read_recording(path, sampling_rate=500).signal, SIGNALS, atol=1e-6)


def test_table_with_a_row_for_each_sample_of_each_lead_is_named(tmp_path):
    rows = [[lead, f"{i / 100}", f"{i % 7}"] for lead in DISPLAY_NAMES for i in range(50)]
    with pytest.raises(DataError, match=r"column 'lead' names the lead of each row.*one column a lead"):
        read_recording(write_rows(tmp_path / "x.csv", rows, ["lead", "time", "value"], ","))


def test_time_that_is_wrong_is_named(tmp_path):
    path = write_csv(tmp_path / "x.csv", time=("time", np.arange(len(SIGNALS)) / 500))
    lines = path.read_text().splitlines()
    lines[500] = lines[0]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="'time', line 501: 'time' is neither a number"):
        read_recording(path)


def test_lead_without_a_gain_beside_others_with_one_is_refused(tmp_path):
    path = write_wfdb(tmp_path)
    lines = path.read_text().splitlines()
    lines[8] = lines[8].replace(" 1000", " 0", 1)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=r"1 of 12 leads .*lead V2: its gain is 0 or not there.*--units"):
        read_recording(path)
    np.testing.assert_allclose(read_recording(path, units="1000/mV").signal, SIGNALS, atol=1e-3)


def test_assumed_gain_that_gives_an_unusual_amplitude_is_warned_of(tmp_path):
    path = write_wfdb(tmp_path)
    path.write_text(path.read_text().replace(" 1000.0(0)/mV", " 0(0)/mV"))
    assert has_note(read_recording(path), "WARNING: the unit is assumed, and a median peak-to-peak of")


def test_format_that_the_size_of_the_file_contradicts_is_the_cause(tmp_path):
    path = write_wfdb(tmp_path)
    rows = [line.split() for line in path.read_text().splitlines()]
    text = [" ".join(rows[0])] + [f"rec.dat 212 1000/mV 16 0 {row[-1]}" for row in rows[1:]]
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=r"The cause may be: .*rec\.dat has \d+ more samples"):
        read_recording(path, start=0, seconds=10)


def test_skew_that_leaves_samples_missing_is_the_cause(tmp_path):
    path = write_wfdb(tmp_path)
    lines = path.read_text().splitlines()
    lines[9] = lines[9].replace(" 16 ", " 16:5 ", 1)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        DataError, match=r"lead V3: 5 of .*aligned by the skew in the header, up to 5 samples"
    ):
        read_recording(path, start=0, seconds=10)


@pytest.mark.skipif(os.name == "nt", reason="a colon cannot be in a name there")
def test_colon_in_a_name_is_not_a_drive(tmp_path):
    path = write_wfdb(tmp_path)
    path.with_suffix(".dat").rename(tmp_path / "a:b.dat")
    path.write_text(path.read_text().replace("rec.dat", "a:b.dat"))
    assert len(read_recording(path).signal) == len(SIGNALS)


@pytest.mark.parametrize("stated", ["500 Hz", "500", [500, 500]])
def test_rate_in_other_forms_is_not_overruled(tmp_path, stated):
    np.savez(tmp_path / "x.npz", ecg=SIGNALS, fs=stated)
    assert read_recording(tmp_path / "x.npz").sampling_rate == 500
    with pytest.raises(UsageError, match="contradicts the file, which says 500 Hz"):
        read_recording(tmp_path / "x.npz", sampling_rate=250)


def test_remedy_for_an_axis_of_one_fits_its_place(tmp_path):
    np.save(tmp_path / "x.npy", SIGNALS[..., None])
    with pytest.raises(DataError, match=r"array\[\.\.\., 0\]"):
        read_recording(tmp_path / "x.npy", sampling_rate=500)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"\x1f\x8b\x08", "a gzip archive: unpack it first"),
        ("x.zip", b"PK\x03\x04" + bytes(600), "a zip archive or a spreadsheet"),
        ("x.pdf", b"%PDF-1.4", "a PDF"),
        ("x.pkl", b"\x80\x04\x95" + bytes(50), "a pickle, which can run code"),
        ("x.mat", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("x.csv", b"<html><body>404</body></html>", "a web page instead of the file"),
        ("x.json", json.dumps({"I": [1, 2]}).encode(), "a text in JSON"),
        ("x.xml", b"<svg/>", "by its content it is none of GE MUSE XML, HL7 aECG, Philips XML"),
    ],
)
def test_files_of_other_kinds_are_named_with_a_remedy(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: .*{said}"):
        read_recording(tmp_path / name)


def test_folder_that_cannot_be_searched_does_not_end_a_search(tmp_path, monkeypatch):
    write_csv(tmp_path / "a.csv")
    (tmp_path / "closed").mkdir()
    is_file = Path.is_file

    def refused(path, *args, **options):
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path, *args, **options)

    monkeypatch.setattr(Path, "is_file", refused)  # as for users who may not enter it
    assert [path.name for path in search_recordings([tmp_path]).recordings] == ["a.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipe_that_a_pattern_matches_is_left_out(tmp_path):
    write_csv(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "b.csv")
    found = search_recordings([str(tmp_path / "*.csv")])
    assert [path.name for path in found.recordings] == ["a.csv"]
    assert found.left_out == [f"files that are not regular ones (1): {tmp_path / 'b.csv'}"]


def test_paths_that_cannot_be_opened_are_named(tmp_path):
    os.symlink("nowhere", tmp_path / "link.csv")
    with pytest.raises(DataError, match=r"link\.csv is a link to nowhere, which cannot be reached"):
        locate(tmp_path / "link.csv")
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        search_recordings([tmp_path / ("x" * 300 + ".csv")])
    with pytest.raises(UsageError, match="is an address"):
        search_recordings(["https://example.org/ecg.csv"])

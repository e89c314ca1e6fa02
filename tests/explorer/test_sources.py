"""Samples, uploads and a local PTB-XL in the explorer."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from explorer import sources
from explorer.sources import Correction, for_model, on_page, read_sample, read_upload, sample_names, unpack
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

SAMPLES = sources.SAMPLES


def zipped(files: dict[str, bytes]) -> bytes:
    """An archive of files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture(scope="module")
def sample_bytes() -> bytes:
    """A shipped sample as a user would upload it."""
    return (SAMPLES / "sample_ecg_mi.csv").read_bytes()


def test_shipped_samples_have_labels_license_and_ten_seconds():
    facts = sample_names()
    assert [entry["labels"] for entry in facts.values()] == [["CD"], ["HYP"], ["MI"], ["NORM"], ["STTC"]]
    license_text = (SAMPLES / "LICENSE.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in license_text and "10.1038/s41597-020-0495-6" in license_text
    for name, entry in facts.items():
        shown = read_sample(name)
        assert shown.recording.signal.shape == (1000, 12) and shown.recording.sampling_rate == 100
        assert str(entry["ecg_id"]) in shown.source and shown.labels == tuple(entry["labels"])
        header = (SAMPLES / name).read_text(encoding="utf-8").split("\n", 1)[0]
        assert header == "time," + ",".join(f"lead{number}" for number in range(1, 13))
    with pytest.raises(UsageError, match="no sample 'x'"):
        read_sample("x")


def test_samples_are_the_recordings_of_ptbxl(whole_ptbxl):
    from explorer.make_samples import choose
    from explorer.sources import LocalPtbxl

    ptbxl = LocalPtbxl(whole_ptbxl)
    facts = sample_names()
    assert choose(ptbxl) == {entry["labels"][0]: entry["ecg_id"] for entry in facts.values()}
    for name, entry in facts.items():
        shown = ptbxl.read(entry["ecg_id"])
        np.testing.assert_allclose(read_sample(name).recording.signal, shown.recording.signal, atol=5e-7)
        assert shown.labels == tuple(entry["labels"])
    assert set(ptbxl.find(10, "MI")) < set(ptbxl.find(10))
    with pytest.raises(UsageError, match="no record 99999"):
        ptbxl.read(99999)


def test_upload_is_read_and_leaves_nothing_behind(sample_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_RAM", tmp_path)
    shown, names = read_upload({"my ecg.csv": sample_bytes})
    expected = read_sample("sample_ecg_mi.csv").recording
    np.testing.assert_array_equal(shown.recording.signal, expected.signal)
    assert names == ["my ecg.csv"] and not list(tmp_path.iterdir())
    with pytest.raises(DataError) as error:
        read_upload({"my ecg.csv": sample_bytes[:2000]})
    assert str(tmp_path) not in str(error.value) and not list(tmp_path.iterdir())


def test_upload_takes_a_zip_and_lets_the_user_choose(sample_bytes):
    other = (SAMPLES / "sample_ecg_cd.csv").read_bytes()
    archive = zipped({"a/first.csv": sample_bytes, "a/second.csv": other, "__MACOSX/a/._first.csv": b"x"})
    shown, names = read_upload({"all.zip": archive}, choice="second.csv")
    assert names == ["first.csv", "second.csv"]
    np.testing.assert_array_equal(shown.recording.signal, read_sample("sample_ecg_cd.csv").recording.signal)
    with pytest.raises(UsageError, match=r"no recording 'third\.csv'"):
        read_upload({"all.zip": archive}, choice="third.csv")


def test_correction_reaches_the_reader(sample_bytes):
    names = [*LEADS[:6], "V2", "V1", *LEADS[8:]]
    with pytest.raises(DataError, match="too small for an ECG"):
        read_upload({"ecg.csv": sample_bytes}, Correction(units="uV"))
    swapped, _ = read_upload({"ecg.csv": sample_bytes}, Correction(leads=",".join(names)))
    expected = read_sample("sample_ecg_mi.csv").recording.signal
    np.testing.assert_array_equal(swapped.recording.signal[:, 6:8], expected[:, 7:5:-1])
    filtered, _ = read_upload({"ecg.csv": sample_bytes}, Correction(notch=50))
    assert any("50 Hz were filtered out" in note for note in filtered.recording.notes)


def test_messages_name_the_fields_of_the_page(sample_bytes):
    with pytest.raises(DataError) as error:
        read_upload({"ecg.csv": sample_bytes}, Correction(units="uV"))
    assert "give “Unit” mV" in on_page(str(error.value))


@pytest.mark.parametrize("name", ["../../escape.csv", "/etc/escape.csv", "a\\..\\escape.csv"])
def test_archive_cannot_leave_its_folder(sample_bytes, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_RAM", tmp_path / "ram")
    (tmp_path / "ram").mkdir()
    shown, names = read_upload({"evil.zip": zipped({name: sample_bytes})})
    assert names == ["escape.csv"] and shown.recording.signal.shape == (1000, 12)
    assert not list(Path(tmp_path).rglob("escape.csv"))


def test_archive_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_UPLOAD", 2**20)
    bomb = zipped({"ecg.csv": bytes(3 * 2**20)})
    assert len(bomb) < 2**14
    with pytest.raises(UsageError, match=r"unpacks to 3 MB"):
        unpack({"bomb.zip": bomb})
    lie = bytearray(bomb)
    for signature in (b"PK\x03\x04", b"PK\x01\x02"):  # the sizes that the archive states
        place = lie.index(signature) + (22 if signature == b"PK\x03\x04" else 24)
        lie[place : place + 4] = (100).to_bytes(4, "little")
    with pytest.raises(DataError):
        unpack({"lie.zip": bytes(lie)})
    with pytest.raises(UsageError, match="larger than 1 MB"):
        unpack({"a.csv": bytes(2**20), "b.csv": b"x"})


def test_upload_without_an_ecg_says_what_is_missing():
    with pytest.raises(DataError, match=r"the upload: no recording in it.*signals\.dat"):
        read_upload({"signals.dat": b"1234"})
    with pytest.raises(UsageError, match=r"called ecg\.csv"):
        unpack({"ecg.csv": b"x", "more.zip": zipped({"ecg.csv": b"y"})})
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack({"ecg.zip": b"not a zip"})


def test_model_that_reads_more_than_is_shown_is_refused():
    shown = read_sample("sample_ecg_norm.csv").recording
    assert for_model(shown, 100, 1000) is shown
    assert for_model(shown, 50, 500).signal.shape == (500, 12)
    with pytest.raises(DataError, match="the model reads 20 s"):
        for_model(shown, 100, 2000)

"""Files that people have, dropped into the page: shown, or refused in words."""

from pathlib import Path

import pytest

from explorer.sources import Correction, read_upload
from training.checkpoint import ROOT
from utils.errors import DataError, UsageError

CASES = next((p for p in (ROOT / "shared" / "cases", ROOT.parent / "shared" / "cases") if p.is_dir()), None)
pytestmark = pytest.mark.skipif(CASES is None, reason="the folder shared/cases is absent")
RATE, UNITS = Correction(sampling_rate=100), Correction(units="400/mV")


def files_of(pattern: str) -> dict[str, bytes]:
    """Files of a case as an upload."""
    assert CASES is not None
    found = {path.name: path.read_bytes() for path in sorted(CASES.glob(pattern)) if path.is_file()}
    assert found, pattern
    return found


@pytest.mark.parametrize(
    ("pattern", "choice"),
    [
        ("01_multiseg/*", "seg.hea"),
        ("02_multiseg_multifreq/*", "multi.hea"),
        ("05_format61/*", None),
        ("06_upper_case/*", None),
        ("10_hea_text/micro.*", None),
        ("10_hea_text/x.y.*", None),
        ("17_lead_names/C_names.csv", None),
        ("17_lead_names/D_names.csv", None),
        ("09_csv/sep_line.csv", None),
        ("09_csv/footer.csv", None),
    ],
)
def test_file_that_can_be_read_is_shown(pattern, choice):
    shown, _ = read_upload(files_of(pattern), RATE, choice)
    assert shown.recording.signal.shape[1] == 12 and shown.key.startswith("upload:")


def test_file_without_a_sampling_rate_asks_for_it():
    with pytest.raises(UsageError, match="sampling_rate"):
        read_upload(files_of("03_no_frequency/*"))
    shown, _ = read_upload(files_of("03_no_frequency/*"), RATE)
    assert len(shown.recording.signal) == 1000


def test_file_without_a_calibration_names_its_leads():
    with pytest.raises((DataError, UsageError), match=r"V1|calibrat"):
        read_upload(files_of("04_edf_uncalibrated/phys0_v1_10.edf"))


@pytest.mark.parametrize("name", ["rail8s", "lsbnoise", "clip"])
def test_lost_signal_is_marked_or_refused(name):
    try:
        shown, _ = read_upload(files_of(f"07_signal_lost_in_part/{name}.*"))
    except DataError as error:
        assert "V" in str(error)
        return
    assert any(note.startswith("WARNING") and "V" in note for note in shown.recording.notes)


def every_file() -> list[Path]:
    """All files of all cases."""
    return [] if CASES is None else sorted(p for p in CASES.rglob("*") if p.is_file())


@pytest.mark.parametrize("path", every_file(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_file_alone_is_shown_or_refused_in_words(path):
    try:
        shown, names = read_upload({path.name: path.read_bytes()})
    except (DataError, UsageError) as error:
        assert len(str(error)) > 20 and "/dev/shm" not in str(error) and "Traceback" not in str(error)
    else:
        assert shown.recording.signal.shape[1] == 12 and names

"""The page of the explorer's speed, and what the benchmark uploads."""

from benchmarks.explorer import GOALS
from benchmarks.pages import explorer as explorer_page
from benchmarks.rows import DATA
from explorer.sources import read_upload
from explorer.timing import _write_long
from utils.files import read_json


def test_explorer_page_shows_each_step_with_its_goal():
    path = DATA / "explorer.json"
    steps = read_json(path)["seconds"]
    assert set(steps) == set(GOALS)
    text = explorer_page.page(path)
    paint = steps["first paint"]
    assert f"| first paint of 12 x 5000 samples | 0.2 | {paint['median']:.3f} |" in text
    assert "Not a medical device" in text and read_json(path)["machine"]["cpu"] in text


def test_explorer_benchmark_uploads_5000_samples_of_each_lead(tmp_path):
    _write_long(tmp_path / "long.csv", "sample_ecg_mi.csv")
    shown, _ = read_upload({"long.csv": (tmp_path / "long.csv").read_bytes()})
    assert shown.recording.signal.shape == (5000, 12) and shown.recording.sampling_rate == 500

"""Counts of a database, and pictures of records with their annotations."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from databases import open_database
from databases.statistics import statistics_text
from tests.helpers.database_files import WRITERS
from utils.errors import UsageError
from utils.plotting.annotated import Interval, Wave, plot_annotated


def test_statistics_count_beats_rhythms_and_waves(shared_data):
    counts = open_database("mitdb", shared_data / "mitdb").statistics()
    database = open_database("mitdb", shared_data / "mitdb")
    beats = [len(database.annotations(record).beats.samples) for record in database.records.index]
    assert counts["records"] == len(beats) and sum(counts["beats"].values()) == sum(beats)
    assert sum(counts["seconds of each rhythm"].values()) == pytest.approx(len(beats) * 1805.5, rel=1e-3)
    assert counts["hours"] == pytest.approx(len(beats) * 0.5015, rel=1e-3)
    text = statistics_text(database, counts)
    assert f"records: {len(beats)}\n" in text and "MLII" in text
    labels = open_database("cinc2017", shared_data / "cinc2017").statistics()
    assert labels["records with each statement"] == {"N": 50, "A": 50, "O": 50, "~": 50}
    waves = open_database("qtdb", shared_data / "qtdb").statistics()["waves"]
    assert waves["QRS"] > 100 and waves["T"] > 100


def test_statistics_name_records_without_readable_annotations(tmp_path):
    WRITERS["cpsc2020"](tmp_path)
    (tmp_path / "ref" / "R01.mat").write_bytes(b"")
    database = open_database("cpsc2020", tmp_path)
    counts = database.statistics()
    assert counts["records"] == 1 and "A01: " in counts["unreadable"][0]
    assert "unreadable: 1, such as A01: " in statistics_text(database, counts)


def test_picture_has_the_annotations_of_its_part(shared_data, tmp_path):
    database = open_database("cpsc2021", shared_data / "cpsc2021")
    figure = database.plot("data_101_6", tmp_path / "a.png", start=12, seconds=8)
    said = [text.get_text() for text in (*figure.axes[0].texts, *figure.texts)]
    beats = database.annotations("data_101_6").marks.samples / 200
    assert said.count("N") + said.count("+") >= ((beats >= 12) & (beats < 20)).sum()
    assert "AFIB" in said and "I" in said and any("Not a medical device" in line for line in said)
    assert np.ptp(np.asarray(Image.open(tmp_path / "a.png"))) > 200
    first = (tmp_path / "a.png").read_bytes()
    database.plot("data_101_6", tmp_path / "b.png", start=12, seconds=8)
    assert (tmp_path / "b.png").read_bytes() == first
    for start, seconds in ((1000, 10), (0, 0)):
        with pytest.raises(UsageError, match=r"has 111.775 s: there is nothing to draw"):
            database.plot("data_101_6", None, start, seconds)
    with pytest.raises(UsageError, match="200 s are too long for a picture"):
        open_database("mitdb", shared_data / "mitdb").plot(
            open_database("mitdb", shared_data / "mitdb").records.index[0], None, 0, 200
        )


def test_picture_paints_waves_in_their_lead_alone():
    signals = np.sin(np.arange(500) / 20)[:, None] * [1, 0.5]
    waves = [Wave("II", 0.2, 0.4, "P"), Wave("", 0.5, 0.6, "QRS")]
    figure = plot_annotated(signals, 100, ("I", "II"), None, "t", "", waves, [], [Interval(0, 9, "AF")])
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said.count("P") == 1 and said.count("QRS") == 2 and "AF" in said
    assert len(figure.axes[0].patches) == 4


def test_databases_command_counts_and_draws(shared_data, tmp_path):
    start = [sys.executable, "-m", "twelvelead", "databases"]
    words = ["ludb", "--data_dir", str(shared_data), "--plot", "1", "--to", str(tmp_path / "1.png")]
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=True)
    assert f"wrote {tmp_path / '1.png'}" in done.stdout and (tmp_path / "1.png").stat().st_size > 20_000
    words = ["cinc2017", "--data_dir", str(shared_data / "cinc2017"), "--statistics"]
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=True)
    assert "records with each statement: " in done.stdout and "A 50" in done.stdout
    done = subprocess.run([*start, "--plot", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "need the name of a database" in done.stderr

"""Archives predicted in shards: each recording once, wherever the command was ended."""

import json
import os

import numpy as np
import pandas as pd
import pytest

import explain.archive as archive
from explain.archive import MANIFEST, PENDING, ShardWork, predict_archive
from preprocessing.recordings.ahead import Reading, ReadingPool
from preprocessing.recordings.search import search_recordings
from tests.commands.test_inference import ecg
from tests.helpers.training_files import CLASSES, write_untrained
from training import load_predictor
from utils.errors import DataError, TwelveLeadError, UsageError

COUNT, SIZE = 8, 3
SHARDS = ["part-000000.parquet", "part-000001.parquet", "part-000002.parquet"]
READING = Reading(100, 1000, given_rate=100.0, units="mV")


def _line(number):
    return json.dumps({"number": number, "records": 3, "failed": 0, "digest": "0"}).encode() + b"\n"


class Killed(BaseException):
    """The end of a command at any point."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    out = tmp_path_factory.mktemp("archive")
    write_untrained(out / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    return load_predictor("ecgnet", out)


@pytest.fixture(scope="module")
def pool():
    pool = ReadingPool(1)
    yield pool
    pool.close()


@pytest.fixture
def recordings(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(COUNT):
        np.save(tmp_path / "in" / f"{i}.npy", ecg(seed=i) / 1000)
    return tmp_path / "in"


@pytest.fixture
def predict(predictor, pool, recordings, tmp_path):
    """Predict the archive in this process, as workers do; also gives the numbers of the predicted shards."""

    def run(reading=READING, folder=recordings, end=lambda shard: None):
        digest = predictor.card.weights_sha256
        work = ShardWork(predictor.folder, digest, reading, tmp_path / "archive", 4, 1)
        predicted = []

        def workers(work, shards):
            for shard in shards:
                predicted.append(shard.number)
                written = work.predict(predictor, shard, pool)
                end(shard)
                yield written

        return predict_archive(predictor, search_recordings([folder]), work, workers, SIZE), predicted

    return run


def check_rows(tmp_path, predictor, changed=()):
    """Each recording is there once, with the prediction of its file as it is now."""
    folder = tmp_path / "archive"
    files = sorted(path.name for path in folder.iterdir())
    assert files[0] == MANIFEST and all(name.startswith("part-") for name in files[1:])
    frame = pd.read_parquet(folder).sort_values("record", ignore_index=True)
    assert frame["record"].tolist() == [str(i) for i in range(COUNT)]
    signals = np.stack([ecg(seed=i + 100 * (i in changed)) / 1000 for i in range(COUNT)])
    np.testing.assert_allclose(frame[CLASSES], predictor.predict(signals), atol=3e-6)
    return frame


def test_archive_is_predicted_in_shards_as_file_by_file(predict, predictor, recordings, tmp_path):
    outcome, predicted = predict()
    assert predicted == [0, 1, 2] and outcome.recordings == COUNT and not outcome.failed
    frame = check_rows(tmp_path, predictor)
    assert frame["notes"].str.contains("assumed").all() and frame["error"].isna().all()
    assert list(frame.columns) == ["record", *CLASSES, "warnings", "error", "notes", "stamp"]
    assert predict()[1] == []
    (recordings / "3.npy").write_bytes(b"damaged")
    outcome, predicted = predict()
    assert (outcome.failed, predicted) == (1, [3]) and "3.npy" in outcome.failures[0]
    row = pd.read_parquet(tmp_path / "archive").set_index("record").loc["3"]
    assert "3.npy" in row["error"] and np.isnan(row["NORM"]) and pd.isna(row["warnings"])
    assert predict()[0].failed == 1  # also where nothing was left to do


@pytest.mark.parametrize("point", ["written", "line", "place", "half a line", "line alone"])
def test_archive_continues_wherever_it_was_ended(point, predict, predictor, tmp_path, monkeypatch):
    def end(shard):
        if shard.number == 1:
            raise Killed

    def fail(*args):
        raise Killed

    folder = tmp_path / "archive"
    with pytest.raises(Killed):
        if point == "place":  # after the line of the first shard, before the shard got its place
            monkeypatch.setattr(archive, "replace_durably", fail)
        predict(end=end)
    monkeypatch.undo()
    first = folder / ("" if point != "place" else PENDING) / SHARDS[0]
    before = first.stat().st_mtime_ns
    if point == "half a line":
        with open(folder / MANIFEST, "ab") as file:
            file.write(b'{"number": 1, "rec')
    if point == "line":  # a shard that lies there without a line
        (folder / "part-000007.parquet").write_bytes((folder / SHARDS[0]).read_bytes())
    if point == "line alone":  # a shard that the disk has lost
        (folder / SHARDS[0]).unlink()
    _, predicted = predict()
    check_rows(tmp_path, predictor)
    if point == "line alone":
        assert predicted == [1, 2, 3]
    else:
        assert predicted == [1, 2] and (folder / SHARDS[0]).stat().st_mtime_ns == before
    assert predict()[1] == []


def test_shards_with_changed_files_are_predicted_again(predict, predictor, recordings, tmp_path):
    predict()
    kept = (tmp_path / "archive" / SHARDS[0]).stat().st_mtime_ns
    np.save(recordings / "4.npy", ecg(seed=104) / 1000)
    os.utime(recordings / "4.npy", ns=(1, 1))
    damaged = tmp_path / "archive" / SHARDS[2]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert predict()[1] == [3, 4]
    check_rows(tmp_path, predictor, changed=[4])
    assert (tmp_path / "archive" / SHARDS[0]).stat().st_mtime_ns == kept
    (recordings / "4.npy").unlink()
    assert predict()[1] == [5]
    assert sorted(pd.read_parquet(tmp_path / "archive")["record"]) == [str(i) for i in range(COUNT) if i != 4]


def test_archive_of_other_settings_or_recordings_is_refused(predict, recordings, tmp_path):
    predict()
    with pytest.raises(UsageError, match="other settings \\(reading\\)"):
        predict(Reading(100, 1000, given_rate=100.0, units="uV"))
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "x.npy", ecg() / 1000)
    with pytest.raises(UsageError, match="other recordings"):
        predict(folder=tmp_path / "other")
    manifest = tmp_path / "archive" / MANIFEST
    lines = manifest.read_bytes().splitlines(keepends=True)
    for damage in (b"{}\n", b"[]\n", b"\xff\n", _line("../x"), _line("9")):
        manifest.write_bytes(lines[0] + damage + b"".join(lines[2:]))
        with pytest.raises(DataError, match="is damaged"):
            predict()
    assert len(list((tmp_path / "archive").glob("part-*"))) == 3


def test_shard_that_ends_its_workers_is_not_tried_forever(predict, tmp_path):
    def end(shard):
        raise Killed

    with pytest.raises(Killed):
        predict(end=end)
    attempts = tmp_path / "archive" / PENDING / f"{SHARDS[0]}.attempts"
    assert attempts.read_bytes() == b"."

    def fill(shard):
        path = tmp_path / "archive" / PENDING / f"{SHARDS[1]}.attempts"
        path.write_bytes(b"....")

    with pytest.raises(TwelveLeadError, match="4 workers have died over the recordings from 3 to 5"):
        predict(end=fill)

"""Runs that version 1 trained are scored, resumed, collected and published by the commands of today."""

import csv
import shlex
import shutil

import numpy as np
import pytest

from tests.goldens.version1_outputs import (
    CHAIN,
    RUNS,
    TRAINED,
    chain_words,
    on_the_same_processor,
    read,
    read_millivolts,
    tolerance,
    training_words,
    write_synthetic,
)
from tests.helpers.command_lines import run_lines
from training import load_predictor
from training.checkpoint import load_state
from training.publish import publish
from utils.files import read_json

pytestmark = [pytest.mark.tf, pytest.mark.torch]


@pytest.fixture
def folder(tmp_path):
    """An output folder of version 1, with the data beside it."""
    for part in ("checkpoints", "logs"):
        shutil.copytree(RUNS / part, tmp_path / part)
    write_synthetic(tmp_path / "data" / "synthetic")
    return tmp_path


def score_line(name, *more):
    script, *words = chain_words("torch_test.py") if name == CHAIN else training_words(name)[:5]
    return shlex.join(["python", script.replace("train", "test"), *words, "--resamples", "20", *more])


def history(path):
    """Rows of metrics.csv without the wall time."""
    with open(path, newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_close(now, before, allowed):
    """Everything that the older JSON values hold, to a tolerance."""
    if isinstance(before, dict):
        for key, value in before.items():
            assert_close(now[key], value, allowed)
    elif isinstance(before, list):
        assert len(now) == len(before)
        for pair in zip(now, before, strict=True):
            assert_close(*pair, allowed)
    elif isinstance(before, float):
        assert now == pytest.approx(before, abs=allowed)
    else:
        assert now == before


def test_version_1_runs_are_scored_collected_and_published(folder):
    runs = [*TRAINED, CHAIN]
    lines = [score_line(name) for name in runs]
    lines += [f"python -m benchmarks collect --run {name} --data rows" for name in runs]
    lines.append("python -m benchmarks render --data rows --docs pages --readme README.md")
    (folder / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    done = run_lines(lines, folder)
    for name in runs:
        part = "protoecgnet/fusion" if name == CHAIN else name
        before, now = (read_json(top / "logs" / part / "test.json") for top in (RUNS, folder))
        assert_close(now["metrics"], before["metrics"], tolerance(name))
        assert now["checkpoint"]["weights_sha256"] == before["checkpoint"]["weights_sha256"]
    page = (folder / "pages" / "ptbxl.md").read_text()
    assert all(f"### {name}" in page for name in TRAINED) and "commit `9911de1d9512`" in page
    assert "wrote rows/protoecgnet/protoecgnet.json" in done[7].out
    stages = read_json(folder / "rows" / "protoecgnet" / "protoecgnet.json")["stages"]
    assert len(stages) == 10 and "test" in stages["fusion"]

    signals = read_millivolts([folder / "data/synthetic/records100/00000/00025_lr"])
    for name in TRAINED:
        target = publish(name, name, str(folder), folder / "pretrained")
        card = read_json(target / "card.json")
        assert card["version"] == 2 and card["provenance"]["config"]["data_dir"] == "data/ptb"
        assert name in (folder / "pretrained" / "README.md").read_text()
        expected = read(RUNS / "logs" / name / "predictions.npz")
        row = expected["ecg_id"].tolist().index(25)
        predicted = load_predictor(target).predict(signals)[0]
        np.testing.assert_allclose(predicted, expected["probability"][row], rtol=0, atol=tolerance(name))


def test_version_1_runs_are_resumed_as_version_1_did(folder):
    names = [name for name in TRAINED if (RUNS / "resumed" / name).is_dir()]
    assert names == ["ecgnet", "mousavi"]
    done = run_lines(
        [shlex.join(["python", *training_words(name, epochs=2), "--resume"]) for name in names], folder
    )
    for name, part in zip(names, done, strict=True):
        assert "resumed at epoch 2" in part.out
        expected, now = RUNS / "resumed" / name, folder / "checkpoints" / name / "last"
        (before, _), (after, progress) = load_state(expected.parent / name), load_state(now.parent)
        for array, value in before.items():
            if on_the_same_processor():
                np.testing.assert_array_equal(after[array], value, err_msg=array)
            else:
                np.testing.assert_allclose(after[array], value, rtol=0, atol=1e-3, err_msg=array)
        rows = history(folder / "logs" / name / "metrics.csv")
        assert rows == [pytest.approx(row, abs=1e-3) for row in history(expected / "metrics.csv")]
        assert progress["config"]["epochs"] == 2
    improved = read_json(folder / "checkpoints" / "ecgnet" / "card.json")  # the other kept its first epoch
    assert improved["version"] == 2 and improved["metrics"]["epoch"] == 2


def test_version_1_run_with_other_settings_is_not_resumed(folder):
    words = training_words("ecgnet", epochs=2)
    words[words.index("--batchsize") + 1] = "8"
    (done,) = run_lines([shlex.join(["python", *words, "--resume"])], folder, check=False)
    assert done.code == 2 and "batchsize" in done.err
    assert load_state(folder / "checkpoints" / "ecgnet")[1]["epoch"] == 1

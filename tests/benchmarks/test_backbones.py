"""Tables of backbones: what is described, the page, and the steps beside another package."""

import json
import subprocess
import sys

import pytest

from benchmarks.backbones import BackboneOptions, run_backbones
from benchmarks.pages import backbones as page
from benchmarks.speed import backbones as speed
from models_torch.backbones import list_backbones
from training.checkpoint import ROOT
from utils.errors import TwelveLeadError, UsageError
from utils.files import read_json, write_json

pytestmark = pytest.mark.torch


def test_backbones_are_described_and_rendered(tmp_path):
    path = run_backbones(BackboneOptions(names=["resnetNS", "mobilenet_v1"], data=tmp_path))
    row = read_json(path)["resnetNS"]
    assert (row["family"], row["parameters"], row["shape"]) == ("resnet", 736_256, [512, 157])
    stem = 2 * 12 * 64 * 25 * 2500  # operations of the first convolution alone
    assert stem < row["operations"] < 20 * stem and row["explained"] == ["stage4", 32]
    steps = {"ours": {"train": 0.2, "infer": 0.1}, "peer": {"train": 0.4, "infer": 0.1}}
    report = {
        "backbones": {"resnetNS": {**steps, "train_ratio": 0.5, "infer_ratio": 1.0}},
        "peer": "torch_ecg 0.0.33", "batch_size": 2, "samples": 5000, "rounds": 2, "repetitions": 2,
        "machine": {"load_average": [1.5], "cpu": "CPU", "date": "today"},
    }  # fmt: skip
    write_json(tmp_path / "speed.json", report)
    text = page.page(path, tmp_path / "speed.json")
    assert "| `resnetNS` | 0.74 |" in text and "| `resnetNS` | 200 | 400 | 0.50 | 100 | 100 | 1.00 |" in text
    assert "beside torch_ecg" not in page.page(path, tmp_path / "absent.json")


def test_table_of_backbones_has_all_of_them():
    assert set(read_json(ROOT / "benchmarks" / "data" / "backbones.json")) == set(list_backbones())
    assert set(speed.BACKBONES) <= set(list_backbones())


def test_server_answers_jobs_of_our_backbones():
    with speed.server([sys.executable, "-m", "benchmarks.speed.backbones"]) as ours:
        job = {"samples": 200, "batch_size": 1, "repetitions": 1}
        answer = ours.ask(name="tresnetF", **job)
        assert answer["parameters"] == 1_202_732 and min(answer["train"] + answer["infer"]) > 0
        with pytest.raises(TwelveLeadError, match="xception_vanilla"):
            ours.ask(name="tresnetG", **job)


def test_ratio_is_that_of_the_best_steps():
    ours = {"parameters": 1, "train": [0.3, 0.2], "infer": [0.1]}
    peer = [
        {"parameters": 1, "train": [0.5], "infer": [0.2]},
        {"parameters": 1, "train": [0.4], "infer": [0.3]},
    ]
    found = speed.entry({"ours": [ours], "peer": peer})
    assert (found["train_ratio"], found["infer_ratio"]) == (0.5, 0.5)
    assert "train_ratio" not in speed.entry({"ours": [ours], "peer": []})


def test_server_that_does_not_start_is_named(tmp_path):
    with (
        pytest.raises(UsageError, match=r"--peer .*absent cannot be started"),
        speed.server([str(tmp_path / "absent")]),
    ):
        pass
    script = ROOT / "benchmarks" / "speed" / "peer_backbones.py"
    done = subprocess.run(
        [sys.executable, str(script), "json"], capture_output=True, text=True, input=json.dumps({})
    )
    assert done.returncode == 1 and "json.model_configs" in done.stderr

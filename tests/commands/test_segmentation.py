"""The shipped segmentation tasks, trained, resumed, scored and used by the ordinary commands."""

import json
import shlex

import numpy as np
import pytest

from tests.extension.recordings import write
from tests.helpers.command_lines import run_lines
from tests.helpers.training_files import last_state, metrics_rows, same_arrays
from utils.files import read_json

PLUGINS = "--plugins tests.helpers.segmentation_plugin"
TORCH = pytest.param(
    "torch_train.py",
    f"toynet --model_config '{json.dumps({'per_sample': True})}' {PLUGINS}",
    marks=pytest.mark.torch,
)
KERAS = pytest.param("train.py", f"samplenet {PLUGINS},tests.helpers.keras_sample_net", marks=pytest.mark.tf)
TASKS = {  # task: further options
    "spike_stage": "",
    "spike_parts": "--crop 600 --label_smoothing 0.02",  # scored on records, which are longer than a crop
}


@pytest.mark.parametrize(("script", "model"), [TORCH, KERAS])
def test_segmentation_is_trained_resumed_scored_and_predicts(tmp_path, script, model):
    write(tmp_path / "toyecg")
    np.save(tmp_path / "spike.npy", np.load(tmp_path / "toyecg" / "t45.npy"))
    np.save(tmp_path / "none.npy", np.load(tmp_path / "toyecg" / "t46.npy"))
    name, plugins = model.split()[0], shlex.join(shlex.split(model)[-2:])
    lines = []
    for task, more in TASKS.items():
        train = f"python {script} --model {model} --database toyecg --data_dir toyecg --task {task} {more}"
        train += " --batchsize 8 --lr 0.02 --noise 0.01 --threads 1 --patience 99"
        lines += [f"{train} --run {task} --epochs 40", f"{train} --run again_{task} --epochs 25"]
        lines.append(f"{train} --run again_{task} --epochs 40 --resume")
        lines.append(
            f"python {script.replace('train', 'test')} --model {name} --run {task} --resamples 20 {plugins}"
        )
        for recording in ("spike", "none"):
            how = f"--dir {recording}.npy --sampling_rate 100 --units mV --no_pictures"
            lines.append(f"python inference.py --model {task} {how} {plugins}")
    done = run_lines(lines, tmp_path)
    for number, task in enumerate(TASKS):
        said = [part.out for part in done[6 * number : 6 * number + 6]]
        assert "val macro Dice" in said[0] and "resumed at epoch 26" in said[2]
        assert same_arrays(last_state(tmp_path, task), last_state(tmp_path, f"again_{task}"))
        assert metrics_rows(tmp_path, task) == metrics_rows(tmp_path, f"again_{task}")
        card = read_json(tmp_path / "checkpoints" / task / "card.json")
        kind = {"spike_stage": "segmentation", "spike_parts": "multilabel_segmentation"}[task]
        assert card["task"] == {"name": task, "kind": kind}
        report = read_json(tmp_path / "logs" / task / "test.json")
        assert report["records"] == 12 and report["metrics"]["macro_dice"] > 0.6
        interval = report["bootstrap"]["intervals"]["macro_dice"]
        assert interval["low"] <= report["metrics"]["macro_dice"] <= interval["high"]
        assert "macro Dice" in said[3] and "Dice spike" in said[3]
        results = tmp_path / "results" / task
        segments = read_json(results / "spike" / "prediction.json")["segments"]
        longest = max(segments, key=lambda segment: segment["end_s"] - segment["start_s"])
        assert longest["class"] == "spike" and abs(longest["start_s"] - 3) < 0.15 > abs(
            longest["end_s"] - 3.4
        )
        assert "spike" in said[4] and "Not a medical device" in said[4]
        assert len(read_json(results / "none" / "prediction.json")["segments"]) < len(segments)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("torch_train.py --model toynet", "model 'toynet' gives (2,) for a record, but segmentation targets"),
        ("torch_train.py --model ecgnet", "choose a model for this kind of task"),
    ],
)
def test_segmentation_needs_a_model_that_answers_for_samples(tmp_path, words, message):
    write(tmp_path / "toyecg")
    line = f"python {words} --database toyecg --data_dir toyecg --task spike_stage --epochs 1 {PLUGINS}"
    (done,) = run_lines([line], tmp_path, check=False)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors"))

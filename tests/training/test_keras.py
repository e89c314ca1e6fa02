"""Training of Keras models: resuming, repeating, second stage, TensorBoard, and the other backend."""

import json
import os
import re
import resource
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import models_tf
import train
from tests.helpers.ptbxl_files import CODES
from tests.helpers.training_files import (
    OPTIONS,
    RANDOM,
    ROOT,
    call,
    flags,
    interrupt_at,
    last_state,
    metrics_rows,
    same_arrays,
    small_database,
)
from training import load_predictor
from training.checkpoint import read_card, write_checkpoint
from training.config import parse_config
from training.keras_io import restore_keras_state, save_weights
from training.loops.keras_loop import build_model
from training.setup import load_training_data
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import sha256

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def run(database, out, *more, model="mousavi"):
    return call(train.main, "train.py", *flags(model, database, out, *more))


def learned(out, name):
    return {k: v for k, v in last_state(out, name).items() if k.startswith("model/")}


@pytest.fixture(scope="module")
def whole(database, tmp_path_factory):
    """Three epochs with everything that is random, without interruption."""
    out = tmp_path_factory.mktemp("whole")
    run(database, out, *RANDOM, "--epochs", 3, "--run", "whole")
    return out


def test_run_interrupted_twice_equals_uninterrupted_bit_for_bit(database, whole, monkeypatch, capsys):
    words = [*RANDOM, "--epochs", 3, "--run", "parts"]
    for moment, told in [((0, 2), "interrupted at epoch 1, batch 3"), ((1, 4), "interrupted at epoch 3")]:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, *moment)
            run(database, whole, *words, *(["--resume"] if moment[0] else []))
        text = capsys.readouterr().out
        assert told in text and re.search(
            "resume with: (KERAS_BACKEND=torch )?python train.py --model mousavi", text
        )
    run(database, whole, *words, "--resume")
    state = last_state(whole, "whole")
    assert any(key.startswith("optimizer/") for key in state)
    assert same_arrays(state, last_state(whole, "parts"))
    best = [load_predictor(name, whole).model.weights for name in ("whole", "parts")]
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*best, strict=True))
    rows = metrics_rows(whole, "whole")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == metrics_rows(whole, "parts")


def test_seed_decides(database, whole, tmp_path):
    run(database, tmp_path, *RANDOM, "--epochs", 3, "--run", "other", "--seed", 43)
    assert learned(tmp_path, "other").keys() == learned(whole, "whole").keys()
    assert not same_arrays(learned(tmp_path, "other"), learned(whole, "whole"))


def test_tensorboard_reads_the_curves(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "logs" / "whole"))
    events.Reload()
    rows = metrics_rows(whole, "whole")
    assert set(events.Tags()["scalars"]) == {*rows[0], "seconds"} - {"epoch"}
    for tag in ("train_loss", "val_macro_roc_auc"):
        points = events.Scalars(tag)
        assert [p.step for p in points] == [1, 2, 3]
        np.testing.assert_allclose([p.value for p in points], [float(r[tag]) for r in rows], rtol=1e-6)


def test_card_and_the_predictor(whole, database):
    card = read_card(whole / "checkpoints" / "whole")
    assert card.framework == "keras" and card.weights == "model.weights.h5"
    assert card.name == "mousavi" and card.model["samples"] == 200
    assert card.provenance.packages.keys() >= {"keras", keras.backend.backend()}
    assert "python train.py --model mousavi" in card.provenance.command
    predictor = load_predictor("whole", whole)
    data = load_training_data(parse_config("", ["mousavi"], "mousavi", flags("mousavi", database, whole)))
    probabilities = predictor.predict(data.val.signals)
    assert probabilities.shape == (10, 5) and np.isfinite(probabilities).all()
    by_card = card.metrics["val_loss"]
    p, y = probabilities.astype(float), data.val.labels
    assert -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean() == pytest.approx(by_card, abs=1e-5)


def test_mi_stage_starts_from_the_first_stage(database, tmp_path, capsys):
    run(database, tmp_path, "--epochs", 1)
    run(database, tmp_path, "--sub", "True", "--epochs", 1, "--lr", 1e-30)
    assert "all but head/kernel, head/bias" in capsys.readouterr().out
    first, second = (load_predictor(name, tmp_path) for name in ("mousavi", "mousavi_mi"))
    paths = [w.path for w in first.model.weights if not w.path.startswith("head/")]
    assert len(paths) >= 10
    for old, new in zip(first.model.weights, second.model.weights, strict=True):
        assert old.path.startswith("head/") or np.array_equal(np.asarray(old), np.asarray(new))
    assert second.classes == ["ASMI", "IMI", "NORM"] and second.card.model["activation"] == "softmax"
    signals = np.random.default_rng(0).normal(size=(4, 200, 12))
    np.testing.assert_allclose(second.predict(signals).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(DataError, match=r"--init: .* has shape"):
        wider = '{"filters": [3], "lstm_units": 2, "dense_units": 4}'
        run(database, tmp_path, "--init", "mousavi", "--run", "wide", "--model_config", wider)
    with pytest.raises(DataError, match="holds 'mousavi', not a Keras 'imle_net'"):
        run(database, tmp_path, "--init", "mousavi", "--run", "imle", model="imle_net")


def test_run_is_neither_lost_nor_mixed(whole, database):
    with pytest.raises(UsageError, match="run 'whole' exists"):
        run(database, whole, "--run", "whole")
    with pytest.raises(UsageError, match="--epochs was 3, is 4"):  # a cosine is drawn to its last epoch
        run(database, whole, *RANDOM, "--run", "whole", "--epochs", 4, "--resume")


def test_state_of_another_model_is_refused(whole, database):
    words = [*flags("mousavi", database, whole), "--model_config", '{"lstm_units": 3}']
    config = parse_config("", ["mousavi"], "mousavi", words)
    model = build_model(config, load_training_data(config))
    with pytest.raises(DataError, match="use --overwrite"):
        restore_keras_state(model, last_state(whole, "whole"))


def test_checkpoint_survives_a_full_disk(whole, tmp_path):
    predictor = load_predictor("whole", whole)
    write = partial(save_weights, predictor.model)
    write_checkpoint(tmp_path, predictor.card, write)
    before = sha256(tmp_path / "model.weights.h5")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(TwelveLeadError, match=r"cannot write .*model\.weights\.h5: File too large"):
            write_checkpoint(tmp_path, predictor.card, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sha256(tmp_path / "model.weights.h5") == before
    assert load_predictor(tmp_path).classes == predictor.classes


def test_bf16_trains_saves_float32_and_is_over_with_the_run(database, tmp_path):
    run(database, tmp_path, "--precision", "bf16", "--epochs", 1)
    assert keras.config.dtype_policy().name == "float32"
    predictor = load_predictor("mousavi", tmp_path)
    assert {str(w.dtype) for w in predictor.model.weights} == {"float32"}
    assert {v.dtype for v in learned(tmp_path, "mousavi").values()} >= {np.dtype("float32")}
    assert np.dtype("float16") not in {
        v.dtype
        for v in load_file(tmp_path / "checkpoints" / "mousavi" / "last" / "state.safetensors").values()
    }


def test_crops(database, tmp_path):
    run(database, tmp_path, "--crop", 100, "--epochs", 1, model="imle_net")
    predictor = load_predictor("imle_net", tmp_path)
    assert predictor.card.model["samples"] == 100 and predictor.samples == 200


def test_training_at_500_hz(tmp_path):
    fast = small_database(tmp_path / "fast", 40, sampling_rate=500, codes=CODES[:4])
    options = json.dumps({**OPTIONS["imle_net"], "window": 250})  # half a second, as at 100 Hz
    words = ["--sampling_rate", 500, "--epochs", 1, "--model_config", options]
    run(fast, tmp_path, *words, model="imle_net")
    predictor = load_predictor("imle_net", tmp_path)
    assert (predictor.sampling_rate, predictor.samples) == (500, 1000)
    assert predictor.card.model["window"] == 250
    probabilities = predictor.predict(np.random.default_rng(0).normal(size=(3, 1000, 12)))
    assert probabilities.shape == (3, 5) and ((probabilities > 0) & (probabilities < 1)).all()
    with pytest.raises(UsageError, match="--sampling_rate was 500, is 100"):
        run(fast, tmp_path, *words[2:], "--resume", model="imle_net")


def test_torch_backend_trains_and_reads_the_same_weights(database, whole, tmp_path):
    """One process: a run's weights give the same probabilities there, and an epoch can be trained."""
    signals = np.random.default_rng(0).normal(size=(9, 200, 12)).astype(np.float32)
    np.save(tmp_path / "signals.npy", signals)
    words = flags("mousavi", database, tmp_path, "--epochs", 1, "--noise", 0.1)
    code = f"""
import sys, numpy as np, keras, train
from training import load_predictor
assert keras.backend.backend() == "torch"
signals = np.load({str(tmp_path / "signals.npy")!r})
np.save({str(tmp_path / "there.npy")!r}, load_predictor("whole", {str(whole)!r}).predict(signals))
sys.argv = ["train.py", *{words!r}]
train.main()
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    there = np.load(tmp_path / "there.npy")
    np.testing.assert_allclose(there, load_predictor("whole", whole).predict(signals), atol=1e-5)
    trained = load_predictor("mousavi", tmp_path)  # weights from torch, read by the backend here
    assert trained.card.model["filters"] == OPTIONS["mousavi"]["filters"]
    assert trained.predict(signals).shape == (9, 5)


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_models_with_dropout_resume_bit_for_bit(backend):
    with_dropout = [name for name in models_tf.list_models() if "dropout" in models_tf.model_options(name)]
    assert len(with_dropout) >= 3
    command = [sys.executable, "-m", "tests.helpers.resumed_keras", *with_dropout]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for found in json.loads(done.stdout.splitlines()[-1]).values():
        assert found["backend"] == backend and found["arrays"] > 10 and found["dropouts"]
        assert found["different"] == [] and found["dropout_acts"]

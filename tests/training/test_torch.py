"""Training of PyTorch models: resuming, repeating, stopping, second stages, and what it leaves behind."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import torch_train
from explain.engine.classifier import load_classifier
from explain.methods import explain
from tests.helpers.ptbxl_files import CODES
from tests.helpers.training_files import (
    RANDOM,
    call,
    flags,
    interrupt_at,
    last_state,
    metrics_rows,
    same_arrays,
    small_database,
)
from training import load_predictor
from training.checkpoint import load_state, read_card
from training.config import TrainConfig
from training.loops.schedule import learning_rate
from training.loops.stopper import Stopper
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import sha256


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def train(database, out, *more):
    return call(torch_train.main, "torch_train.py", *flags("ecgnet", database, out, *more))


def weights(out: Path, run: str) -> dict[str, np.ndarray]:
    return {k: v for k, v in last_state(out, run).items() if k.startswith("model/")}


@pytest.fixture(scope="module")
def whole(database, tmp_path_factory):
    """Three epochs with everything that is random, without interruption."""
    out = tmp_path_factory.mktemp("whole")
    train(database, out, *RANDOM, "--epochs", 3, "--run", "whole")
    return out


def test_run_interrupted_twice_equals_uninterrupted_bit_for_bit(database, whole, monkeypatch, capsys):
    words = [*RANDOM, "--epochs", 3, "--run", "parts"]
    for moment, told in [((0, 2), "interrupted at epoch 1, batch 3"), ((1, 4), "interrupted at epoch 3")]:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, *moment)
            train(database, whole, *words, "--resume" if moment[0] else "--overwrite")
        text = capsys.readouterr().out
        assert told in text and "resume with: python torch_train.py --model ecgnet" in text
        assert text.count("--resume") == 1 and "--overwrite" not in text
    train(database, whole, *words, "--resume")
    assert "resumed at epoch 3" in capsys.readouterr().out
    state = last_state(whole, "whole")
    assert {key.split("/")[0] for key in state} == {"model", "optimizer", "random"}
    assert any(key.endswith("exp_avg_sq") for key in state)
    assert same_arrays(state, last_state(whole, "parts"))
    runs = [whole / "checkpoints" / name / "model.safetensors" for name in ("whole", "parts")]
    assert sha256(runs[0]) == sha256(runs[1])
    rows = metrics_rows(whole, "whole")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == metrics_rows(whole, "parts")


def test_resume_after_two_of_four_epochs_equals_four(database, tmp_path):
    train(database, tmp_path, "--epochs", 4, "--run", "four", "--noise", 0.2)
    train(database, tmp_path, "--epochs", 2, "--run", "two", "--noise", 0.2)
    assert not same_arrays(weights(tmp_path, "two"), weights(tmp_path, "four"))
    train(database, tmp_path, "--epochs", 4, "--run", "two", "--noise", 0.2, "--resume")
    assert same_arrays(last_state(tmp_path, "four"), last_state(tmp_path, "two"))


def test_seed_decides(database, whole, tmp_path):
    for seed in (42, 43):
        train(database, tmp_path, *RANDOM, "--epochs", 3, "--run", seed, "--seed", seed)
    assert same_arrays(last_state(tmp_path, "42"), last_state(whole, "whole"))
    assert not same_arrays(weights(tmp_path, "43"), weights(whole, "whole"))


def test_epoch_kept_is_the_best_from_the_first_on(database, tmp_path, monkeypatch, capsys):
    """Patience, best and last follow the fold-9 scores, whatever they are."""
    aucs = iter([0.6, 0.8, 0.7, 0.8, 0.9])
    monkeypatch.setattr(
        "training.tasks.classification.evaluate",
        lambda *_: {"macro_roc_auc": next(aucs), "mean_accuracy": 0.5},
    )
    seen = []
    monkeypatch.setattr(
        "training.loops.recorder.write_checkpoint", lambda _, card, __: seen.append(card.metrics)
    )
    train(database, tmp_path, "--epochs", 9, "--patience", 2)
    assert [card["epoch"] for card in seen] == [1, 2]
    assert load_state(tmp_path / "checkpoints" / "ecgnet")[1]["epoch"] == 4
    assert "best: epoch 2, macro ROC-AUC 0.8000 on fold 9" in capsys.readouterr().out


def test_training_one_epoch_leaves_a_loadable_checkpoint_with_a_full_card(database, tmp_path):
    out = train(database, tmp_path, "--epochs", 1) or tmp_path / "checkpoints" / "ecgnet"
    card = read_card(out)
    assert card.framework == "torch" and card.name == "ecgnet"
    assert card.model["filters"] == 4 and card.task == "superdiagnostic" and card.inputs.unit == "mV"
    assert card.classes == ["CD", "HYP", "MI", "NORM", "STTC"] and card.inputs.leads[3] == "AVR"
    assert (card.inputs.sampling_rate, card.inputs.samples, card.provenance.seed) == (100, 200, 42)
    decision = card.outputs.decision
    assert card.inputs.standardization.keys() == {"mean", "std"}
    assert decision["calibration"]["method"] in ("platt", "identity")
    assert len(decision["thresholds"]) == 5 and "fold 9" in card.outputs.chosen_on
    assert len(card.data.fingerprint) == 64 and card.data.records == {"train": 80, "val": 10}
    assert card.provenance.packages.keys() >= {"python", "numpy", "torch"} and card.provenance.git_commit
    assert card.provenance.command.startswith("python torch_train.py --model ecgnet")
    assert card.metrics["epoch"] == 1 and 0 <= card.metrics["val_macro_roc_auc"] <= 1
    assert "Not a medical device" in card.to_json()["notice"]
    assert load_predictor("ecgnet", tmp_path).predict(np.zeros((2, 200, 12))).shape == (2, 5)


def test_crnn_on_a_named_backbone_is_trained_explained_and_read_again(database, tmp_path):
    options = {
        "backbone": "tresnetF", "sampling_rate": 100, "rnn": "linear", "rnn_units": [8], "head_units": [8],
        "backbone_config": {
            "num_blocks": [1, 1], "num_filters": [8, 8], "filter_lengths": [9, 9], "strides": [1, 2],
            "stem": {"num_filters": [8]}, "building_block": ["basic", "bottleneck"],
            "block": [{"blur_size": 3}, {"blur_size": 3}],
        },
    }  # fmt: skip
    words = [
        "--model",
        "ecg_crnn",
        "--data_dir",
        database,
        "--output_dir",
        tmp_path,
        "--epochs",
        1,
        "--threads",
        1,
    ]
    call(torch_train.main, "torch_train.py", *words, "--model_config", json.dumps(options))
    card = read_card(tmp_path / "checkpoints" / "ecg_crnn")
    written = card.model["backbone_config"]  # all of it, with the filter lengths of 100 Hz
    assert (written["fs"], written["filter_lengths"], written["activation"]) == (100, [3, 3], "leaky")
    subject = load_classifier("ecg_crnn", tmp_path)
    signals = np.random.default_rng(0).normal(size=(2, 200, 12)).astype(np.float32)
    assert load_predictor("ecg_crnn", tmp_path).predict(signals).shape == (2, 5)
    maps = explain(subject, "gradcam", subject.standardize(signals), np.array([0, 1]))
    assert maps.shape == (2, 200, 12) and np.abs(maps).max() > 0


def test_run_is_neither_lost_nor_mixed_with_another(database, tmp_path):
    train(database, tmp_path, "--epochs", 1)
    before = weights(tmp_path, "ecgnet")
    with pytest.raises(UsageError, match=r"exists in .* --resume continues it, --overwrite replaces it"):
        train(database, tmp_path, "--epochs", 1)
    with pytest.raises(UsageError) as caught:
        train(database, tmp_path, "--epochs", 2, "--resume", "--lr", 0.5, "--noise", 0.1)
    assert "--lr was 0.001, is 0.5" in str(caught.value) and "--noise was 0.0, is 0.1" in str(caught.value)
    with pytest.raises(UsageError, match="nothing to resume"):
        train(database, tmp_path, "--run", "other", "--resume")
    # what is wrong with a replacement shows before anything is removed
    with pytest.raises(TwelveLeadError):
        train(tmp_path / "absent", tmp_path, "--overwrite")
    with pytest.raises(UsageError, match="unknown option 'depth'"):
        train(database, tmp_path, "--overwrite", "--model_config", '{"depth": 3}')
    assert same_arrays(before, weights(tmp_path, "ecgnet"))
    stale = [tmp_path / kind / "ecgnet" / "stale" for kind in ("checkpoints", "logs")]
    for path in stale:
        path.write_text("of the run before")
    train(database, tmp_path, "--epochs", 1, "--overwrite", "--seed", 7)
    assert not any(path.exists() for path in stale)
    assert not same_arrays(before, weights(tmp_path, "ecgnet"))
    assert len(metrics_rows(tmp_path, "ecgnet")) == 1


def test_database_that_changed_is_not_the_one_of_the_run(database, tmp_path):
    train(database, tmp_path, "--epochs", 1)
    other = small_database(tmp_path / "other", seed=1)
    with pytest.raises(DataError, match="is not the data that run 'ecgnet' was started on"):
        train(other, tmp_path, "--epochs", 2, "--resume")


def test_output_folder_that_cannot_be_written_shows_before_training(database, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("training.loops.loop._train_epoch", lambda *_: pytest.fail("trained"))
    with pytest.raises(TwelveLeadError, match="choose another output folder"):
        train(database, tmp_path / "file" / "out")


def test_divergence_is_said_and_not_kept(database, tmp_path):
    with pytest.raises(TwelveLeadError, match=r"training diverged in epoch 1 .* use a smaller --lr"):
        train(database, tmp_path, "--epochs", 2, "--lr", 1e30)
    train(database, tmp_path, "--epochs", 1, "--overwrite")


def test_split_that_cannot_be_scored_shows_before_training(database, tmp_path, monkeypatch):
    monkeypatch.setattr("training.loops.loop._train_epoch", lambda *_: pytest.fail("trained"))
    with pytest.raises(DataError, match="no ROC-AUC can choose a checkpoint: use more records"):
        train(database, tmp_path, "--epochs", 1, "--limit", 1)


def test_mi_stage_starts_from_the_first_stage(database, tmp_path, capsys):
    train(database, tmp_path, "--epochs", 1)
    capsys.readouterr()
    # a rate too small to move a float32: what is saved is what it started from
    train(database, tmp_path, "--sub", "True", "--epochs", 1, "--lr", 1e-30)
    assert "all but head.weight, head.bias" in capsys.readouterr().out
    first = load_file(tmp_path / "checkpoints" / "ecgnet" / "model.safetensors")
    second = load_file(tmp_path / "checkpoints" / "ecgnet_mi" / "model.safetensors")
    assert first["head.weight"].shape[0] == 5 and second["head.weight"].shape[0] == 3
    learned = [k for k in first if not k.startswith("head.") and k.split(".")[-1] not in STATISTICS]
    assert len(learned) > 10 and all(np.array_equal(first[k], second[k]) for k in learned)
    card = read_card(tmp_path / "checkpoints" / "ecgnet_mi")
    assert (card.task, card.classes, card.multilabel) == ("mi", ["ASMI", "IMI", "NORM"], False)
    signals = np.random.default_rng(0).normal(size=(4, 200, 12))
    np.testing.assert_allclose(
        load_predictor("ecgnet_mi", tmp_path).predict(signals).sum(axis=1), 1, rtol=1e-5
    )
    train(database, tmp_path, "--sub", "True", "--epochs", 2, "--lr", 1e-30, "--resume")


STATISTICS = {
    "running_mean",
    "running_var",
    "num_batches_tracked",
}  # of batch norm: follow the data, not the rate


def test_init_takes_only_the_same_architecture(database, tmp_path, monkeypatch):
    monkeypatch.setattr("training.checkpoint.ROOT", tmp_path)  # without the weights of the repository
    train(database, tmp_path, "--epochs", 1, "--run", "first")
    other = json.dumps({"filters": 6, "blocks": 2, "lstm_units": 4})
    with pytest.raises(DataError, match="another architecture"):
        train(database, tmp_path, "--init", "first", "--run", "second", "--model_config", other)
    with pytest.raises(UsageError, match="did you mean 'first'"):
        train(database, tmp_path, "--init", "frist", "--run", "second")
    with pytest.raises(UsageError, match="no trained model 'ecgnet'"):
        train(database, tmp_path, "--sub", "True")


@pytest.mark.parametrize("task", ["diagnostic", "subdiagnostic", "form", "all"])
def test_label_sets(database, tmp_path, task):
    train(database, tmp_path, "--task", task, "--epochs", 1, "--limit", 40)
    card = read_card(tmp_path / "checkpoints" / "ecgnet")
    assert card.task == task and card.model["num_classes"] == len(card.classes) >= 2
    selected = {"form": {"train": 34, "val": 3}}  # records with a statement of the set
    assert card.data.records == selected.get(task, {"train": 40, "val": 10})


def test_bf16_trains_and_saves_float32(database, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    train(database, tmp_path, "--precision", "bf16", "--epochs", 1)
    train(database, tmp_path, "--epochs", 1, "--run", "full")
    half, full = (load_file(tmp_path / "checkpoints" / r / "model.safetensors") for r in ("ecgnet", "full"))
    assert {str(v.dtype) for v in half.values()} == {"float32", "int64"}
    assert not np.array_equal(half["conv1.weight"], full["conv1.weight"])
    np.testing.assert_allclose(half["conv1.weight"], full["conv1.weight"], atol=0.02)


def test_training_at_500_hz(tmp_path):
    fast = small_database(tmp_path / "fast", 40, sampling_rate=500, codes=CODES[:4])
    train(fast, tmp_path, "--sampling_rate", 500, "--epochs", 1)
    predictor = load_predictor("ecgnet", tmp_path)
    assert (predictor.sampling_rate, predictor.samples) == (500, 1000)


def test_crops_train_and_whole_records_are_scored(database, tmp_path):
    train(database, tmp_path, "--crop", 120, "--epochs", 1)
    predictor = load_predictor("ecgnet", tmp_path)
    assert predictor.card.model["samples"] == 120 and predictor.samples == 200
    with pytest.raises(UsageError, match="--crop 201 is longer than the records"):
        train(database, tmp_path, "--crop", 201, "--run", "long")


def test_signal_that_is_the_second_stops_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Stopper() as stopper:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_schedules_step_as_their_papers_say():
    def config(schedule):
        return TrainConfig(schedule=schedule, lr=1.0, epochs=10)

    cyclic = [learning_rate(config("cyclic"), step, 10) for step in range(161)]
    assert cyclic[0] == cyclic[80] == cyclic[160] == pytest.approx(0.1)
    assert cyclic[40] == cyclic[120] == pytest.approx(10) and cyclic[20] == pytest.approx(5.05)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), factor=0.5, patience=5
    )
    losses = [5, 4, 4, 4, 4, 4, 4, 4, 4, 3.9, *[4] * 14, 3.8, *[3.79999] * 8]
    for epoch, loss in enumerate(losses):
        plateau.step(loss)
        expected = plateau.optimizer.param_groups[0]["lr"]
        assert learning_rate(config("plateau"), 0, 10, losses[: epoch + 1]) == expected

"""Training on windows: the study's model on the loop of all PyTorch models."""

import numpy as np
import pytest

from attribution import train as study
from attribution.engine.selection import check_fit
from explain.engine.classifier import load_classifier
from preprocessing.splits import resplit
from preprocessing.windows import load_windows, save_windows
from tests.helpers.attribution_files import WIDTHS, bumps
from tests.helpers.training_files import call, interrupt_at
from training import load_predictor
from training.checkpoint import read_card
from utils.errors import DataError, UsageError
from utils.metrics import roc_auc

pytestmark = pytest.mark.torch


@pytest.fixture
def path(tmp_path):
    save_windows(bumps("ttttvvxx"), tmp_path / "mitdb.npz")
    return tmp_path / "mitdb.npz"


def run(path, out, *more):
    words = ["--dataset_path", path, "--output_dir", out, "--epochs", 3, "--batch_size", 8, "--threads", 1]
    call(study.main, "attribution.train", *words, "--model_config", WIDTHS, "--learning_rate", 0.01, *more)


def test_run_leaves_a_checkpoint_that_every_part_can_use(path, tmp_path, capsys):
    run(path, tmp_path, "--seed", 3)
    told = capsys.readouterr().out
    assert "validation patients: 24 windows: N 12, VEB 12" in told and "on validation patients" in told
    card = read_card(tmp_path / "checkpoints" / "mitdb_resnet18_seed3")
    assert card.task == "mitdb" and card.inputs.leads == ("II",) and card.extra["windows"] == "mitdb.npz"
    assert not card.multilabel and card.inputs.standardization["per_record"]
    assert "validation patients" in card.outputs.chosen_on and "fold" not in card.outputs.chosen_on
    test = load_windows(path).split("test")
    predictor = load_predictor(tmp_path / "checkpoints" / "mitdb_resnet18_seed3")
    probabilities = predictor.predict(test.signals[:])
    assert roc_auc(test.labels, probabilities).min() > 0.9
    # offset and gain of a recorder do not matter
    np.testing.assert_allclose(predictor.predict(3 * test.signals[:] - 2), probabilities, atol=1e-4)


def test_kfold_trains_on_the_other_folds(path, tmp_path, capsys):
    run(path, tmp_path, "--epochs", 1, "--split", "kfold", "--folds", 4, "--fold", 2)
    said = capsys.readouterr().out
    assert "the other 2 folds: 48 windows" in said and "fold 3 of 4: 24 windows" in said
    card = read_card(tmp_path / "checkpoints" / "mitdb_resnet18_fold2_seed42")
    assert card.outputs.chosen_on == "fold 3 of 4"
    model = load_classifier(tmp_path / "checkpoints" / "mitdb_resnet18_fold2_seed42")
    with pytest.raises(DataError, match="build them with --split kfold --folds 4 --fold 2"):
        check_fit(load_windows(path), model)
    check_fit(resplit(load_windows(path), 4, 2), model)
    with pytest.raises(UsageError, match="8 patients cannot be divided into 9 folds"):
        run(path, tmp_path, "--split", "kfold", "--folds", 9)


@pytest.mark.parametrize("standardize", ["window", "dataset"])
def test_preprocessors_reach_the_card_and_the_predictor(path, tmp_path, standardize):
    chain = ["baseline_remove", "normalize:method=min-max"]
    words = ("--epochs", 1, "--run", "one", "--standardize", standardize, "--preprocess", *chain)
    run(path, tmp_path, *words)
    windows = load_windows(path)
    card = read_card(tmp_path / "checkpoints" / "one")
    stored = card.inputs.standardization
    assert [step[0] for step in stored["preprocess"]] == ["baseline_remove", "normalize"]
    assert stored["sampling_rate"] == windows.sampling_rate and stored.get("per_record", False) == (
        standardize == "window"
    )
    config = study.check_study(
        study.StudyConfig(dataset_path=str(path), preprocess=chain, standardize=standardize), ["resnet18"]
    )
    trained = study.load_study_data(config)
    predictor = load_predictor(tmp_path / "checkpoints" / "one")
    by_hand = trained.standardizer(trained.val.signals[:8])
    np.testing.assert_allclose(predictor.standardize(windows.split("val").signals[:8]), by_hand, atol=1e-5)
    with pytest.raises(UsageError, match=r"--preprocess resample changes the shape of the records"):
        run(path, tmp_path, "--run", "two", "--preprocess", "resample:fs=50")
    with pytest.raises(UsageError, match=r"--resume needs the settings .*--preprocess was"):
        run(path, tmp_path, "--epochs", 2, "--run", "one", "--standardize", standardize, "--resume")


def test_seed_decides_the_weights_also_after_an_interruption(path, tmp_path, monkeypatch):
    run(path, tmp_path, "--run", "one")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 1, 2)
        run(path, tmp_path, "--run", "two")
    run(path, tmp_path, "--run", "two", "--resume")
    first, second = (tmp_path / "checkpoints" / name / "model.safetensors" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_model_has_its_published_name_and_the_help_lists_it(path, tmp_path, capsys):
    run(path, tmp_path, "--model", "resnet18_7", "--epochs", 1)
    assert (tmp_path / "checkpoints" / "mitdb_resnet18_seed42" / "card.json").exists()
    with pytest.raises(SystemExit):
        run(path, tmp_path, "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "name of the run (default: DATASET_MODEL_seedSEED)" in told
    assert "fold-9" not in told and "--sub" not in told


def test_dataset_level_standardization_keeps_amplitudes(path, tmp_path):
    run(path, tmp_path, "--standardize", "dataset", "--epochs", 1)
    numbers = read_card(tmp_path / "checkpoints" / "mitdb_resnet18_seed42").inputs.standardization
    train = load_windows(path).split("train").signals[:]
    assert numbers["std"] == pytest.approx(float(train.std()), rel=1e-5) and "per_record" not in numbers


def test_validation_windows_are_training_windows_where_no_patients_are_set_apart(tmp_path, capsys):
    save_windows(bumps("ttttxx"), tmp_path / "mitdb.npz")
    run(tmp_path / "mitdb.npz", tmp_path, "--epochs", 1)
    assert "training windows kept in view" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--dataset", "svdb"], DataError, "holds 'mitdb', not --dataset svdb"),
        (["--dataset", "mitbd", "--dataset_path", ""], UsageError, "did you mean 'mitdb'"),
        (["--model", "protoecgnet"], UsageError, "trained by torch_train.py"),
        (["--crop", 500], UsageError, "longer than the windows"),
        (["--resume"], UsageError, "nothing to resume|no run"),
    ],
)
def test_train_wrong_words_say_so(path, tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        run(path, tmp_path, *words)


def test_flags_of_ptbxl_are_refused(path, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(path, tmp_path, "--task", "rhythm")
    assert stop.value.code == 2
    assert "--task" in capsys.readouterr().err


def test_splits_of_one_class_or_empty_are_refused(tmp_path):
    windows = bumps("ttvvxx")
    windows.labels[windows.splits == "val"] = [1, 0]
    save_windows(windows, tmp_path / "mitdb.npz")
    with pytest.raises(DataError, match="only one class"):
        run(tmp_path / "mitdb.npz", tmp_path)
    save_windows(bumps("xx"), tmp_path / "mitdb.npz")
    with pytest.raises(UsageError, match="no train split"):
        run(tmp_path / "mitdb.npz", tmp_path)


def test_epoch_kept_is_the_last_unless_asked_otherwise(path, tmp_path, monkeypatch):
    aucs = iter([0.9, 0.8, 0.7] * 2)
    monkeypatch.setattr(
        "training.tasks.classification.evaluate",
        lambda *_: {"macro_roc_auc": next(aucs), "mean_accuracy": 0.5},
    )
    run(path, tmp_path, "--run", "last")
    run(path, tmp_path, "--run", "best", "--keep", "best")
    kept = {name: read_card(tmp_path / "checkpoints" / name).metrics["epoch"] for name in ("last", "best")}
    assert kept == {"last": 3, "best": 1}

"""The published ECG-CNN study: names of settings, tables of an evaluation, choice among runs."""

import dataclasses
import os

import numpy as np
import pytest

from databases.synthetic import write_dataset
from databases.synthetic.sample import write_sample
from preprocessing import Dataset
from tests.helpers.training_files import ROOT
from training.config import TrainConfig, check
from training.experiments.evaluation_tables import (
    classification_report,
    confusion,
    errors_near,
    fold_table,
    threshold_sweep,
)
from training.experiments.grid_file import read_grid
from training.experiments.published import translate_fields, translate_file, translate_words
from training.experiments.trained import best
from training.families import family_of
from twelvelead.commands.evaluate import EvaluateOptions, check_options, choose_run
from utils.config import parse
from utils.errors import UsageError
from utils.files import write_text

BASELINE = {
    "model": "ECGConvNet",
    "lr": 0.001,
    "batch_size": 64,
    "weight_decay": 0.0,
    "n_epochs": 5,
    "save_best": True,
    "sample_only": False,
    "subsample_frac": 1.0,
    "sampling_rate": 100,
    "data_dir": None,
    "sample_dir": None,
    "verbose": True,
    "n_folds": 5,
    "plots_enable_ovr": False,
    "plots_ovr_classes": ["__placeholder__"],
}


def test_published_fields_have_names_here():
    settings, notes = translate_fields(BASELINE)
    assert settings == {
        "model": "ecgconvnet", "lr": 0.001, "batchsize": 64, "weight_decay": 0.0, "epochs": 5, "keep": "best",
        "sample_only": False, "subsample_frac": 1.0, "sampling_rate": 100, "split": "kfold", "folds": 5,
        "fold": 0,
    }  # fmt: skip
    assert notes == []
    settings, notes = translate_fields(
        {"n_folds": 1, "verbose": False, "plots_ovr_classes": ["MI"], "tag": "a"}
    )
    assert settings == {} and len(notes) == 4 and "official split" in notes[0]
    options = {"model": "ECGConvNet", "kernel_sizes": [7, 3, 3], "conv_dropout": 0.1, "fc_dropout": 0.2}
    assert translate_fields(options)[0] == {
        "model": "ecgconvnet",
        "model_config.kernels": [7, 3, 3],
        "model_config.feature_dropout": 0.1,
        "model_config.dropout": 0.2,
    }
    assert translate_fields({"sample_frac": 0.1, "save_best": False})[0] == {
        "subsample_frac": 0.1,
        "keep": "last",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_folds": 2}, r"a.yaml: n_folds must be 1 .* or at least 3, not 2"),
        ({"n_folds": "x"}, "n_folds must be a whole number of folds, not 'x'"),
        ({"model": "ECGResNet", "fc_dropout": 0.1}, "fc_dropout has no effect on ecgresnet: it belongs to"),
        ({"conv_dropout": 0.1}, "conv_dropout has no effect on this model: it belongs to ecgconvnet"),
        ({"n_epochs": 1, "epochs": 2}, "epochs is epochs here, which is given twice"),
    ],
)
def test_published_fields_without_effect_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        translate_fields(values, "a.yaml")


def test_published_file_of_several_runs_names_the_grid_command():
    with pytest.raises(UsageError, match=r"lr, n_epochs has several values, .*twelvelead grid grid_12.yaml"):
        translate_file({**BASELINE, "lr": [1e-3, 1e-4], "n_epochs": [1]}, "grid_12.yaml", TrainConfig)


@pytest.mark.parametrize(
    ("name", "runs"),
    [("compact_grid", 12), ("compact_plus_grid", 40), ("grid_12", 60), ("grid_18", 90), ("grid_27", 135)],
)
def test_published_grids_are_read_and_refused_by_the_command_of_one_run(name, runs):
    path = ROOT / "configs" / "ecg_cnn" / f"{name}.yaml"
    grid = read_grid(path)
    assert len(grid.runs) == runs and {run.config.split for run in grid.runs} == {"kfold"}
    with pytest.raises(UsageError, match="twelvelead grid"):
        parsed("--config", str(path))


def parsed(*words):
    return family_of("ecgconvnet").parse(translate_words(words), "ecgconvnet")


def test_published_flags_are_understood_with_hyphens_and_underscores(tmp_path):
    config = parsed(
        *(
            "--model",
            "ECGConvNet",
            "--n_epochs",
            "2",
            "--batch-size",
            "8",
            "--weight-decay",
            "0.1",
            "--verbose",
        ),
        *("--save-best", "--kernel-sizes", "5", "3", "3", "--conv-dropout", "0.1", "--fc_dropout", "0.2"),
        *("--sampling-rate", "500", "--data-dir", "d", "--subsample-frac", "0.5", "--n_folds", "4"),
        *("--model_config", '{"filters": 8}'),
    )
    assert config.model_config == {"filters": 8, "kernels": [5, 3, 3], "feature_dropout": 0.1, "dropout": 0.2}
    assert (config.model, config.epochs, config.batchsize, config.weight_decay) == ("ecgconvnet", 2, 8, 0.1)
    assert (config.keep, config.sampling_rate, config.data_dir) == ("best", 500, "d")
    assert (config.subsample_frac, config.split, config.folds, config.fold) == (0.5, "kfold", 4, 0)
    assert config.run == "ecgconvnet"
    write_text(tmp_path / "a.yaml", "model: ECGConvNet\nfc_dropout: 0.3\nmodel_config: {filters: 4}\n")
    config = parsed("--config", str(tmp_path / "a.yaml"), "--conv_dropout=0.1")
    assert config.model_config == {"filters": 4, "dropout": 0.3, "feature_dropout": 0.1}
    with pytest.raises(UsageError, match="kernel_sizes has no effect on ecgresnet"):
        translate_words(["--model", "ecgresnet", "--kernel-sizes", "3"])


def test_sample_names_database_and_folder():
    config = parsed("--sample-only", "--sample_dir", "elsewhere")
    assert (config.database, config.data_dir) == ("synthetic", "elsewhere")
    assert check(config, ["ecgconvnet"]) == config
    assert parsed("--sample_only").data_dir == "data/sample"
    with pytest.raises(UsageError, match="--sample_dir x has no effect without --sample_only"):
        parsed("--sample_dir", "x")
    with pytest.raises(UsageError, match="--sample_only names the database"):
        parsed("--sample_only", "--database", "ludb", "--task", "waves")


def test_sample_is_not_written_over_other_data(tmp_path):
    write_dataset(tmp_path / "other", 3)
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(UsageError, match=r"holds files that this command did not write, such as 'mine.txt'"):
        write_sample(tmp_path / "other")


def of(targets, kind="multilabel"):
    count = len(targets)
    return Dataset(
        signals=np.zeros((count, 1, 1), np.float32),
        targets=np.array(targets, np.uint8),
        classes=["A", "B"],
        ids=np.arange(100, 100 + count),
        patients=np.arange(count),
        splits=["val"] * count,
        sampling_rate=1,
        leads=("I",),
        kind=kind,
    )


def test_report_has_numbers_in_every_row():
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 0]])
    answers = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
    table = classification_report(labels, answers, ["A", "B"])
    assert table["label"].tolist() == ["A", "B", "macro avg", "weighted avg"]
    expected = [[0.5, 0.5, 0.5, 2], [0, 0, 0, 1], [0.25, 0.25, 0.25, 3], [1 / 3, 1 / 3, 1 / 3, 3]]
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(float), expected)
    counts = confusion(labels, answers, ["A", "B"], "multilabel")
    assert counts.to_numpy().tolist() == [["A", 1, 1, 1, 1], ["B", 3, 0, 1, 0]]
    exclusive = np.eye(2, dtype=int)[[0, 0, 1]]
    table = confusion(exclusive, np.eye(2, dtype=int)[[0, 1, 1]], ["A", "B"], "multiclass")
    assert table.to_numpy().tolist() == [["A", 1, 1], ["B", 0, 1]]


def test_threshold_sweep_judges_each_class_by_itself():
    """A perfect classifier has F1 1 at 0.5 in every class."""
    labels = np.eye(5, dtype=int)
    for column in range(5):
        table = threshold_sweep(labels[:, column], labels[:, column] * 0.8 + 0.1)
        assert len(table) == 101 and table["threshold"].iloc[[0, 50, 100]].tolist() == [0, 0.5, 1]
        assert table.iloc[50].tolist() == [0.5, 1, 1, 1, 1]
        assert table["recall"].iloc[100] == 0 and table["accuracy"].iloc[0] == 0.2


def test_errors_are_those_nearest_to_the_threshold_first():
    data = of([[1, 0], [1, 0], [0, 0], [0, 0], [1, 0]])
    scores = np.array([0.1, 0.39, 0.41, 0.9, 0.8])
    missed = errors_near(data, 0, scores, 0.4, positive=False)
    assert missed[["ecg_id", "margin"]].to_numpy().tolist() == [[101, 0.01], [100, 0.3]]
    alarms = errors_near(data, 0, scores, 0.4, positive=True, most=1)
    assert alarms.to_dict("records") == [
        {"ecg_id": 102, "patient_id": 2, "y_true": 0, "y_prob": 0.41, "threshold": 0.4, "margin": 0.01}
    ]


def test_fold_table_is_rectangular_with_mean_and_deviation():
    rows = [{"fold": k, "best_epoch": k, "val_loss": v, "run": f"r{k}"} for k, v in ((1, 0.5), (2, 0.7))]
    table = fold_table(rows)
    assert table["fold"].tolist() == ["1", "2", "mean", "SD"]
    np.testing.assert_allclose(table["val_loss"].astype(float), [0.5, 0.7, 0.6, np.sqrt(0.02)], atol=1e-6)
    assert table[["best_epoch", "run"]].iloc[2:].isna().all(axis=None)


def test_run_is_chosen_by_its_own_numbers(tmp_path, monkeypatch):
    @dataclasses.dataclass
    class Card:
        metrics: dict
        kind: str = "multilabel"
        classes: tuple = ("A",)

    values = {
        "first": (0.9, 0.6, 0.3),
        "second": (0.8, 0.7, 0.4),
        "third": (0.7, 0.5, 0.2),
        "fourth": (0.6, 0.5, 0.9),
    }
    names = ("val_macro_roc_auc", "val_mean_accuracy", "val_loss")
    cards = {tmp_path / name: Card(dict(zip(names, row, strict=True))) for name, row in values.items()}
    for time, folder in enumerate(cards):
        write_text(folder / "card.json", "{}")
        os.utime(folder / "card.json", (time, time))
    chosen = {prefer: best(cards, prefer).name for prefer in ("auto", "accuracy", "loss", "latest")}
    assert chosen == {"auto": "first", "accuracy": "second", "loss": "third", "latest": "fourth"}
    with pytest.raises(UsageError, match="unknown preference 'los': did you mean 'loss'"):
        best(cards, "los")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--enable_ovr --disable_ovr", "exclude each other"),
        ("--disable_ovr --ovr_classes MI", "--ovr_classes has no effect with --disable_ovr"),
        ("--shap custom --shap-n 1", "at least 2 of each class"),
        ("--shap-n 3", "--shap_n N is the number of records of --shap custom"),
        ("--run a --prefer loss", "--prefer chooses among runs"),
        ("--run a --checkpoint b", "choose one"),
    ],
)
def test_evaluate_refuses_options_without_effect(words, message):
    with pytest.raises(UsageError, match=message):
        parse(EvaluateOptions, words.split(), check=check_options)


def test_evaluate_says_what_the_published_effort_cannot_do(capsys):
    assert parse(EvaluateOptions, ["--shap-stride", "5"]).shap == "medium"
    assert "--shap_stride has no meaning here: records are explained with all" in capsys.readouterr().err


def test_evaluate_without_a_run_says_how_to_get_one(tmp_path):
    with pytest.raises(UsageError, match="has no trained classifier: train one with twelvelead train"):
        choose_run(EvaluateOptions(output_dir=str(tmp_path)))
    with pytest.raises(UsageError, match="has no classifier of fold 2; there are folds of no run"):
        choose_run(EvaluateOptions(output_dir=str(tmp_path), fold=2))

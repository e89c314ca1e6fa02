"""Grids: how a file becomes runs, and what is refused before anything is trained."""

import pytest

from tests.helpers.training_files import ROOT
from training.experiments.grid_file import read_grid
from utils.errors import UsageError


def read(tmp_path, text, **also):
    path = tmp_path / "g.yaml"
    path.write_text(text)
    return read_grid(path, also=also)


def names(grid):
    return [run.name for run in grid.runs]


def test_grid_is_the_product_of_its_axes_in_the_order_of_the_file(tmp_path):
    grid = read(tmp_path, "model: [ecgconvnet, mousavi]\nseed: [1, 2]\nlr: [0.1, 1e-2]\nepochs: 3\n")
    assert names(grid) == [
        f"{model}_seed-{seed}_lr-{lr}"
        for model in ("ecgconvnet", "mousavi")
        for seed in (1, 2)
        for lr in (0.1, 0.01)
    ]
    assert grid.axes == ["model", "seed", "lr"] and grid.name == "g"
    assert [run.family.framework for run in grid.runs] == ["torch"] * 4 + ["keras"] * 4
    assert {run.config.epochs for run in grid.runs} == {3}
    assert grid.runs[1].changes == {"model": "ecgconvnet", "seed": 1, "lr": 0.01}


def test_lists_that_are_values_stay_whole(tmp_path):
    grid = read(
        tmp_path,
        "model: ecgconvnet\naugment: [shift, noise]\n"
        "model_config.kernels: [[3, 3, 3], [5, 3, 3]]\nmodel_config.filters: [4, 8]\n",
    )
    assert len(grid.runs) == 4 and grid.runs[0].config.augment == ["shift", "noise"]
    assert [run.config.model_config for run in grid.runs[:2]] == [
        {"kernels": [3, 3, 3], "filters": 4},
        {"kernels": [3, 3, 3], "filters": 8},
    ]
    assert names(grid)[-1] == "kernels-5-3-3_filters-8"


def test_folds_are_all_folds_of_a_cross_validation(tmp_path):
    grid = read(tmp_path, "model: ecgconvnet\nfolds: 3\nlr: [0.1, 0.01]\n")
    assert [(c.config.split, c.config.folds, c.config.fold, c.config.lr) for c in grid.runs] == [
        ("kfold", 3, fold, lr) for fold in (1, 2, 3) for lr in (0.1, 0.01)
    ]
    assert names(grid)[0] == "fold-1_lr-0.1"
    some = read(tmp_path, "model: ecgconvnet\nfolds: 4\nfold: [1, 4]\n")
    assert [(run.config.folds, run.config.fold) for run in some.runs] == [(4, 1), (4, 4)]


def test_runs_with_names_are_combined_with_the_axes(tmp_path):
    grid = read(
        tmp_path,
        "model: ecgconvnet\nseed: [1, 2]\nruns:\n  base: {}\n  sgd: {optimizer: sgd, momentum: [0.8, 0.9]}\n",
    )
    assert names(grid) == [
        "base_seed-1",
        "base_seed-2",
        *(f"sgd_seed-{seed}_momentum-{value}" for seed in (1, 2) for value in (0.8, 0.9)),
    ]
    assert grid.runs[-1].changes == {"optimizer": "sgd", "seed": 2, "momentum": 0.9}


def test_names_of_published_files_are_understood(tmp_path):
    grid = read(
        tmp_path,
        "model: [ECGConvNet, ECGResNet]\nbatch_size: 8\nn_epochs: 2\nn_folds: 3\nsave_best: false\n"
        "verbose: false\nsample_frac: 0.5\nplots_enable_ovr: true\nplots_ovr_classes: [MI]\n"
        "data_dir: null\n",
    )
    assert len(grid.runs) == 6 and grid.runs[0].config.model == "ecgconvnet"
    assert (grid.runs[0].config.batchsize, grid.runs[0].config.epochs) == (8, 2)
    assert grid.runs[0].config.subsample_frac == 0.5 and grid.runs[0].config.keep == "last"
    noted = ["verbose", "plots_enable_ovr", "plots_ovr_classes"]
    assert [note.split()[1] for note in grid.notes] == noted


def test_settings_of_the_command_line_replace_those_of_the_file(tmp_path):
    text = "model: ecgconvnet\nlr: [0.1, 0.01]\nepochs: 5\n"
    assert {run.config.epochs for run in read(tmp_path, text, epochs=1).runs} == {1}
    assert [run.config.lr for run in read(tmp_path, text, lr=[0.5]).runs] == [0.5]
    with pytest.raises(UsageError, match="has the axis lr"):
        read(tmp_path, text, lr=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: [1, 2]", "model is missing"),
        ("model: [ecgconvnet]\nlr: []", "lr has no value"),
        ("model: []", "model has no value"),
        ("model: ecgconvnets", "did you mean 'ecgconvnet'"),
        ("model: ecgconvnet\nlrr: [1, 2]", "unknown key 'lrr': did you mean 'lr'"),
        ("model: ecgconvnet\nmodel_config.filter: [1, 2]", "has no option 'filter': did you mean 'filters'"),
        ("model: ecgconvnet\nthreads: [1, 2]", "threads names a run or belongs to the machine"),
        ("model: ecgconvnet\nrun: a", "run is for single runs"),
        ("model: ecgconvnet\nbeta2: [0.9, 0.99]\noptimizer: sgd", "beta2 has no effect with optimizer sgd"),
        ("model: minirocket\nlr: [0.1, 0.2]", "lr has no effect on minirocket"),
        ("model: ecgconvnet\nlr: [0.1, 1e-1]", "two runs have the name|have the same settings"),
        ("model: ecgconvnet\nlr: [0.1, -1]", "--lr must be above 0"),
        ("model: ecgconvnet\nsplit: official\nfolds: 5", "split: official has no folds"),
        ("model: ecgconvnet\nfolds: 2", "--folds must be at least 3"),
        ("model: ecgconvnet\nfolds: many", "folds must be a number"),
        ("model: ecgconvnet\nfolds: 3\nfold: [1, 4]", "--fold 4 is above --folds 3"),
        (
            "model: ecgconvnet\nbatch_size: 8\nbatchsize: 16",
            "batchsize is batchsize here, which is given twice",
        ),
        ("model: ecgconvnet\nruns: []", "runs must be a mapping"),
        ("model: ecgconvnet\nruns: {a: {lr: 1}, b: {lr: 1}}", "'a' and 'b' have the same settings"),
        ("model: ecgconvnet\nlr: [1, 2]\nruns: {a: {lr: 3}}", "lr is an axis of all runs already"),
        ("model: ecgconvnet\naugment: [[shift], noise]", "augment mixes lists and single values"),
        ("model: ecgconvnet\nplots_ovr_classes: [[MI], [CD]]", "plots_ovr_classes does not change a run"),
        ("model: ecgconvnet\nname: ../a", "must be a plain folder name"),
        ("[1, 2]", "has no settings: write each with its value on a line, for example 'model: ecgresnet'"),
        ("# nothing yet", r"is empty: .* 'model: ecgresnet', 'lr: \[1e-3, 1e-2\]'"),
    ],
)
def test_files_with_mistakes_are_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_grids_of_the_repository_are_planned():
    for path in sorted((ROOT / "configs" / "grids").glob("*.yaml")):
        assert len(read_grid(path).runs) > 1

"""The grids of the ECG-CNN study: each is planned whole, and each of its models trains one step."""

import pytest

from tests.helpers.training_files import ROOT, call, small_database
from training.experiments import grid as command
from training.experiments.grid_file import read_grid
from utils.files import read_json

CONFIGS = ROOT / "configs" / "ecg_cnn"
# settings, folds, epochs, fraction of the records, models
PLANS = {
    "baseline": (1, 5, 5, 1.0, 1),
    "sample": (2, 3, 2, 1.0, 1),
    "compact_grid": (4, 3, 3, 0.1, 2),
    "compact_plus_grid": (8, 5, 5, 0.2, 2),
    "grid_12": (12, 5, 50, 1.0, 2),
    "grid_18": (18, 5, 50, 1.0, 3),
    "grid_27": (27, 5, 50, 1.0, 3),
}
STEP = ["n_epochs=1", "limit=4", "n_folds=1", "batch_size=[4]", "lr=[0.001]", "weight_decay=[0.0]"]
STEP += ["subsample_frac=1", "sample_only=false", "loggers=csv"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"), 40, seconds=10)


def test_grids_of_the_study_are_those_of_the_table():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_plan_of_the_study(name):
    settings, folds, epochs, fraction, models = PLANS[name]
    runs = read_grid(CONFIGS / f"{name}.yaml").runs
    assert len(runs) == settings * folds
    assert len({run.config.model for run in runs}) == models
    for run in runs:
        config = run.config
        assert (config.split, config.folds, config.epochs) == ("kfold", folds, epochs)
        assert config.subsample_frac == fraction and config.sampling_rate == 100
    assert [run.config.fold for run in runs] == list(range(1, folds + 1)) * settings


@pytest.mark.train
@pytest.mark.parametrize("name", PLANS)
def test_step_of_each_model_of_the_study(name, database, tmp_path):
    call(
        command.main,
        "grid.py",
        *[CONFIGS / f"{name}.yaml", "--data_dir", database, "--output_dir", tmp_path, "--threads", 1],
        *["--set", *STEP],
    )
    found = read_json(tmp_path / "results" / "grids" / name / "grid.json")["runs"]
    assert len(found) == PLANS[name][-1]
    assert {(run["status"], run["epochs"], run["records"]["train"]) for run in found} == {("finished", 1, 4)}

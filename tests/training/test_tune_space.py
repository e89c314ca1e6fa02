"""What a study searches, as files, flags and defaults say it."""

import dataclasses
import os

import pytest

from tests.helpers.training_files import ROOT
from tests.helpers.tune_files import SPACE, run, words
from training import families
from training.config import TrainConfig, check
from training.experiments import tune_plan
from training.experiments.search_space import check_space, default_space, read_space
from training.model_info import model_names
from training.protoecgnet.config import ProtoConfig, searched_settings
from utils.errors import UsageError


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: {low: 1, high: 2}", "unknown setting 'learning_rate'"),
        ("batch_size: {choices: [1]}", "did you mean 'batchsize'"),
        ("model_config.dropot: {low: 0, high: 0.5}", "did you mean 'model_config.dropout'"),
        ("seed: {low: 1, high: 9}", "'seed' is the same in all trials"),
        ("model_config: {choices: [{}]}", "name an option of the model, model_config.NAME"),
        ("lr: {low: 1e-3, high: 1e-4}", "low (0.001) must be below high (0.0001)"),
        ("lr: {low: 0, high: 1, log: true}", "starts above 0"),
        ("lr: {low: 1e-3}", "needs both low and high"),
        ("lr: {low: a, high: 1}", "low must be of type number, not 'a'"),
        ("lr: {low: .nan, high: 1}", "must be of type number"),
        ("lr: {low: 1e-4, high: 1, log: 3}", "log must be true or false"),
        ("lr: {lo: 1e-3, high: 1}", "unknown key 'lo': did you mean 'low'"),
        ("lr: [1e-3, 1e-2]", "must be {low, high, log} or {choices}"),
        ("lr: {choices: []}", "choices must be a list"),
        ("lr: {choices: [1], log: true}", "alone in its entry"),
        ("lr: {choices: [1, 1.0]}", "twice"),
        ("batchsize: {low: 8, high: 16.5}", "high must be of type int, not 16.5"),
        ("batchsize: {choices: [true]}", "must be of type int, not True"),
        ("schedule: {low: 1, high: 2}", "is not a number"),
        (
            "schedule: {choices: [cosin]}",
            "the space has schedule = 'cosin', but unknown schedule 'cosin': did you mean 'cosine'",
        ),
        ("lr: {low: 0, high: 1}", "the space has lr = 0.0, but --lr must be above 0"),
        ("", "must be a mapping"),
        ("- lr", "must be a mapping"),
        ("{", "is not valid YAML"),
        ("lr: !!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)
def test_space_wrong_entries_are_named(tmp_path, space, text, message):
    space.write_text(text)
    with pytest.raises(UsageError) as caught:
        tune_plan.parse_plan(words("data", tmp_path, space))
    assert message in str(caught.value)
    assert not (tmp_path / "tuning").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "ecgnett"], "unknown model 'ecgnett': did you mean 'ecgnet'"),
        (["--model="], "--model is missing"),
        (["--n_trials", "0"], "--n_trials must be at least 1"),
        (["--study", "a/b"], "must be a plain folder name"),
        (["--overwrite"], "to start a study over, remove"),
        (["--devices", "2"], "start one worker for each GPU"),
        (["--lr", "0"], "--lr must be above 0"),
        (["--task", "mi_reference", "--sub"], "no validation split"),
        (["--init", "absent"], "no trained model 'absent'"),
        (["--space", "absent.yaml"], "--space absent.yaml: No such file"),
    ],
)
def test_plan_wrong_flags_are_named(tmp_path, space, more, message):
    with pytest.raises(UsageError) as caught:
        tune_plan.parse_plan([*words("data", tmp_path, space), *more])
    assert message in str(caught.value)


def test_plan_unknown_flag_names_the_nearest(tmp_path, space, capsys):
    with pytest.raises(SystemExit):
        tune_plan.parse_plan(words("data", tmp_path, space, "--trials", 3))
    assert "did you mean '--n_trials'" in capsys.readouterr().err


def test_space_built_in_leaves_out_given_flags():
    names = {d.name for d in default_space(TrainConfig(model="ecgnet"), {"dropout": 0.1})}
    assert names == {
        *("lr", "schedule", "batchsize", "model_config.dropout", "scale", "noise", "weight_decay"),
        *("crop", "mixup", "label_smoothing"),
    }
    config = TrainConfig(model="ecgnet", model_config={"dropout": 0.3}, sampling_rate=500)
    space = default_space(config, {"dropout": 0.1}, ["lr", "noise"])
    assert not {"lr", "noise", "model_config.dropout"} & {d.name for d in space}
    assert next(d for d in space if d.name == "crop").choices == (0, 1250, 2500)
    check_space(space, config, ["ecgnet"], check)
    proto = ProtoConfig(branch="rhythm", training_stage="joint")
    trunk = {"lr", "schedule", "batchsize", "l2", "dropout", "scale", "noise"}
    for stage, names in {
        "joint": trunk | {"single_class_prototype_per_class"},
        "feature_extractor": trunk,
        "classifier": {"classifier_lr", "batchsize", "l2", "l1"},
    }.items():
        proto = dataclasses.replace(proto, training_stage=stage)
        assert {d.name for d in default_space(proto, {}, names=searched_settings(proto))} == names


def test_plan_fixes_flags_and_configuration_file(tmp_path):
    (tmp_path / "base.yaml").write_text("model: ecgnet\nepochs: 7\nnoise: 0.05\nlr: 0.1")
    plan = tune_plan.parse_plan(
        ["--config", str(tmp_path / "base.yaml"), "--batchsize=8", "--output_dir", "o"]
    )
    names = {d.name for d in plan.space}
    assert plan.fixed.epochs == 7 and plan.study == "ecgnet" and plan.options.n_trials == 50
    assert {"lr", "noise"} <= names and "batchsize" not in names  # the file is a base, a flag is an order
    assert str(plan.folder) == os.path.join("o", "tuning", "ecgnet")


def test_space_files_of_the_repository_are_valid():
    paths = sorted((ROOT / "configs" / "tuning").glob("*.yaml"))
    assert paths
    for path in paths:
        model = path.stem.split("-")[0]
        names = model_names()
        family = families.family_of(model)
        config = family.config_class(model=model)
        config = dataclasses.replace(
            config, **({"branch": "rhythm", **family.defaults} if family.defaults else {})
        )
        check_space(read_space(path, config, family.options(model)), config, names, family.check_trial)


def test_help_of_tune(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and text.startswith("usage: python -m training.experiments.tune")
    for name in ("--n_trials", "--study", "--space", "--storage", "--alone", "--lr", "imle_net", "ecgnet"):
        assert name in text
    assert "Test records are never scored" in text


def test_help_of_tune_lists_flags_of_the_family(capsys):
    with pytest.raises(SystemExit):
        run("--model", "protoecgnet", "--help")
    assert "--lam_clst" in capsys.readouterr().out

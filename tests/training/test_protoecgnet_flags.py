"""The flags of ProtoECGNet: those of the published code, and values that cannot be."""

import subprocess
import sys

import pytest

from models_torch import create_model
from tests.helpers.training_files import ROOT
from training.config import TrainConfig
from training.protoecgnet.config import (
    ProtoConfig,
    model_options,
    parse_proto_config,
    stage_config,
    translate,
)
from utils.errors import UsageError

pytestmark = pytest.mark.torch


def test_published_flags_are_understood():
    text = (
        "--job_name x --label_set 3 --custom_groups True --batch_size 8 --scheduler_type CosineAnnealingLR "
        "--remove_baseline True --use_class_weights False --dropout=0.35 --branch morphology "
        "--training_stage joint --resume_checkpoint False --num_workers 4 --dimension 2D --save_top_k 3"
    )
    config = parse_proto_config("", text.split())
    found = (config.run, config.task, config.batchsize, config.schedule, config.highpass, config.dropout)
    assert found == ("x", "proto_morphology", 8, "cosine", 0.5, 0.35)
    assert config.class_weights == "none" and not config.resume
    assert parse_proto_config("", ["--label_set=all"]).task == "all"


@pytest.mark.parametrize(
    ("text", "branch", "task", "columns"),
    [
        ("--dimension 2D --label_set 3 --custom_groups True", "morphology", "morphology", 0),
        ("--dimension 1D --label_set 1 --custom_groups True --proto_time_len 32", "rhythm", "rhythm", 0),
        ("--dimension 2D --label_set 4 --custom_groups True --proto_time_len=32", "global", "global", 32),
        ("--label_set 4", "global", "global", 0),
        ("--dimension 2D --label_set form --proto_time_len 3", "morphology", "form", 3),
        ("--dimension 2D --label_set form --proto_time_len 32", "global", "form", 32),
        ("--dimension=1D --label_set form --proto_time_len 3", "rhythm", "form", 0),
        ("--dimension 2D --label_set 3 --branch global", "global", "morphology", 0),
    ],
)
def test_published_command_determines_its_branch(text, branch, task, columns):
    config = parse_proto_config("", [*text.split(), "--training_stage", "joint"])
    tasks = (task, f"proto_{task}")
    assert config.branch == branch and config.task in tasks and config.proto_time_len == columns


def test_published_flags_without_a_meaning():
    fusion = "--training_stage fusion --dimension 2D --label_set all --test_model False"
    assert parse_proto_config("", fusion.split()).branch == ""
    assert parse_proto_config("", ["--standardize", "--seed", "7"]).seed == 7  # no value: nothing is eaten
    assert parse_proto_config("", ["--fusion_l1", "all"]).fusion_l1 == "all"
    with pytest.raises(UsageError, match=r"torch_test\.py"):
        translate(["--test_model", "True"])
    with pytest.raises(UsageError, match="branches of --run"):
        translate(["--fusion_weights1", "a.ckpt"])
    config = parse_proto_config("", ["--branch", "rhythm", "--proto_time_len", "32"])  # no published command
    with pytest.raises(UsageError, match="the rhythm branch has one"):
        create_model("protoecgnet", **model_options(stage_config(config, "rhythm", "joint")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training_stage", "joint"], "needs --branch"),
        (["--branch", "rythm"], "rhythm"),
        (["--crop", "250"], "do not go with protoecgnet"),
        (["--dropout", "1"], "below 1"),
        (["--classifier_lr", "0"], "above 0"),
        (["--sub", "True"], "MI stage"),
        (["--task", "mi"], "exclusive classes"),
        (["--weight_decay", "1"], "use --l2"),
        (["--lam_div", "-5"], "not be negative"),
        (["--proto_time_len", "-1"], "not be negative"),
        (["--proto_time_len", "3"], "say which with --branch"),
    ],
)
def test_proto_config_impossible_settings(flags, message):
    with pytest.raises(UsageError, match=message):
        parse_proto_config("", flags)


def test_help_lists_prototype_flags_and_unknown_ones_end_with_code_2():
    command = [sys.executable, "torch_train.py", "--model", "protoecgnet"]
    how = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120}
    shown = subprocess.run([*command, "--help"], **how, check=True)
    assert "--single_class_prototype_per_class" in shown.stdout and "--lam_cnrst" in shown.stdout
    wrong = subprocess.run([*command, "--lam_clust", "1"], **how)
    assert wrong.returncode == 2 and "--lam_clst" in wrong.stderr
    assert set(ProtoConfig().to_json()) > set(TrainConfig().to_json())

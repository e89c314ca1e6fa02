"""Studies: what is searched, who runs which trial, what survives, and what never happens to the test fold."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from functools import partial

import pytest
import yaml

import torch_train
from preprocessing.dataset import Dataset
from tests.helpers.training_files import (
    ROOT,
    call,
    interrupt_at,
    metrics_rows,
    small_database,
    write_untrained,
)
from tests.helpers.tune_files import SPACE, by_rate, pretend_training, rows, run, without_times, words
from training.checkpoint import read_card
from training.config import TrainConfig
from training.experiments import tune as tuning
from training.protoecgnet.config import ProtoConfig
from utils.config import read_config
from utils.errors import DataError, TwelveLeadError, UsageError, run_cli
from utils.files import read_json


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def pretend(monkeypatch):
    return partial(pretend_training, monkeypatch)


# ---- whole studies -------------------------------------------------------------------------------


def test_study_resumes_and_its_best_settings_train_to_the_same_score(database, tmp_path, space, capsys):
    study = tmp_path / "tuning" / "s"
    run(*words(database, tmp_path, space, "--n_trials", 2))
    before = rows(tmp_path)
    assert [row["state"] for row in before] == ["complete", "complete"]
    run(*words(database, tmp_path, space, "--n_trials", 3, "--resume"))
    table = rows(tmp_path)
    assert table[:2] == before and [row["trial"] for row in table] == ["0", "1", "2"]
    assert all(row["epochs"] == "1" and not row["error"] for row in table)
    best = max(table, key=lambda row: float(row["val_score"]))
    text = capsys.readouterr().out
    assert f"best: trial {best['trial']}, validation score" in text
    assert f"python torch_train.py --config {study / 'best.yaml'}" in text
    # only the best trial keeps its weights, all keep their logs
    assert [p.parts[-2] for p in sorted(study.glob("trials/*/checkpoints"))] == [best["trial"]]
    assert len(list(study.glob("trials/*/logs/ecgnet/metrics.csv"))) == 3
    card = read_card(study / "trials" / best["trial"] / "checkpoints" / "ecgnet")
    assert card.model["blocks"] == int(best["model_config.blocks"]) in (2, 3)
    # best.yaml is a configuration of the training script
    found = read_config(study / "best.yaml", TrainConfig)
    assert found["lr"] == float(best["lr"]) and found["run"] == "s_best" and found["model"] == "ecgnet"
    assert found["model_config"]["filters"] == 4 and "output_dir" not in found and "threads" not in found
    assert f"Best of 3 trials of the study 's': trial {best['trial']}" in (study / "best.yaml").read_text()
    call(
        torch_train.main,
        "torch_train.py",
        "--config",
        study / "best.yaml",
        "--output_dir",
        tmp_path,
        "--threads",
        1,
    )
    (row,) = metrics_rows(tmp_path, "s_best")
    assert float(row["val_macro_roc_auc"]) == pytest.approx(float(best["val_score"]), abs=1e-6)


def test_study_of_protoecgnet_stages(database, tmp_path, capsys):
    """One stage of one branch, with the flags of its reference; the classifier starts from the projection."""
    out = ["--data_dir", database, "--output_dir", tmp_path, "--threads", 1, "--batch_size", 16]
    small = ["--width", 2, "--proto_dim", 4, "--branch", "rhythm", "--classifier_epochs", 4]
    small += ["--task", "superdiagnostic", "--epochs", 1]
    args = list(map(str, ["--model", "protoecgnet", *out, *small]))
    run(*args, "--n_trials", 2, "--study", "joint")
    table = rows(tmp_path, "joint")
    assert [row["state"] for row in table] == ["complete"] * 2 and "batchsize" not in table[0]
    best = read_config(tmp_path / "tuning" / "joint" / "best.yaml", ProtoConfig)
    assert best["branch"] == "rhythm" and best["training_stage"] == "joint" and best["batchsize"] == 16
    assert 1 <= best["single_class_prototype_per_class"] <= 20
    with pytest.raises(UsageError, match="there is no stage projection of branch rhythm"):
        run(*args, "--training_stage", "classifier")
    for stage in ("joint", "projection"):
        call(torch_train.main, "torch_train.py", *args, "--training_stage", stage)
    run(*args, "--n_trials", 2, "--study", "head", "--training_stage", "classifier")
    table = rows(tmp_path, "head")
    assert {row["epochs"] for row in table} <= {"1", "3", "4"} and "classifier_lr" in table[0]
    for study, stage in (("joint", "joint"), ("head", "classifier")):  # what it found can be trained
        found = tmp_path / "tuning" / study / "best.yaml"
        call(torch_train.main, "torch_train.py", "--config", found, "--output_dir", tmp_path, "--threads", 1)
        assert (tmp_path / "checkpoints" / f"{study}_best" / "rhythm" / stage / "card.json").exists()
    with pytest.raises(UsageError, match="--training_stage fusion cannot be tuned"):
        run(*args, "--training_stage", "fusion")


@pytest.mark.tf
def test_study_of_a_keras_model(database, tmp_path, space):
    space.write_text(
        "lr: {low: 1e-4, high: 1e-2, log: true}\nmodel_config.filters: {choices: [[2], [2, 3]]}\n"
    )
    run(*words(database, tmp_path, space, "--n_trials", 2, "--keep_weights", model="mousavi"))
    table = rows(tmp_path)
    assert [row["state"] for row in table] == ["complete"] * 2
    for row in table:
        folder = tmp_path / "tuning" / "s" / "trials" / row["trial"] / "checkpoints" / "mousavi"
        assert read_card(folder).model["filters"] == json.loads(row["model_config.filters"])
    assert read_config(tmp_path / "tuning" / "s" / "best.yaml", TrainConfig)["model_config"]["filters"] in (
        [2],
        [2, 3],
    )


def test_study_never_reads_test_records(database, tmp_path, space, monkeypatch):
    run(*words(database, tmp_path / "with", space, "--n_trials", 2))
    asked = []
    split = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: asked.append(name) or split(self, name))
    other = small_database(tmp_path / "without")
    with open(other / "ptbxl_database.csv", newline="") as file:
        gone = [row["filename_lr"] for row in csv.DictReader(file) if int(row["strat_fold"]) == 10]
    for name in gone[1:]:  # a database without test records is refused
        (other / name).with_suffix(".dat").unlink()
    run(*words(other, tmp_path / "out", space, "--n_trials", 2, "--partial"))
    assert len(gone) == 10 and set(asked) == {"train", "val"}
    assert without_times(rows(tmp_path / "with")) == without_times(rows(tmp_path / "out"))
    assert not list(tmp_path.rglob("results"))


# ---- workers -------------------------------------------------------------------------------------


def worker(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "training.experiments.tune", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_workers_share_the_trials(database, tmp_path, space, storage):
    more = ["--storage", f"sqlite:///{tmp_path}/deep/study.db"] if storage == "sqlite" else []
    both = [worker(*words(database, tmp_path, space, "--n_trials", 5, *more)) for _ in range(2)]
    outs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    table = rows(tmp_path)
    assert [row["trial"] for row in table] == list("01234")
    assert {row["state"] for row in table} == {"complete"} and len({row["lr"] for row in table}) == 5
    ran = [re.findall(r"^trial (\d): lr", out, re.M) for out in outs]
    assert sorted(ran[0] + ran[1]) == list("01234")
    assert (tmp_path / "tuning" / "s" / "journal.log").exists() == (storage == "journal")
    (best,) = (tmp_path / "tuning" / "s" / "trials").glob("*/checkpoints/*/card.json")
    assert read_json(best)["provenance"]["command"].startswith("python -m training.experiments.tune --model")


def test_workers_killed_have_their_trial_repeated(database, tmp_path, space, pretend, capsys):
    args = words(database, tmp_path, space, "--n_trials", 2, "--epochs", 60, "--patience", 60)
    process = worker(*args)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch"):
            break
    process.kill()
    assert not process.communicate()[1] and "epoch" in lines[-1], lines
    runs = pretend(by_rate)
    run(*args)
    assert f"trial 0 was left unfinished by process {process.pid} on" in capsys.readouterr().out
    table = rows(tmp_path)
    assert [row["state"] for row in table] == ["unfinished", "complete", "complete"]
    names = [name for name in table[0] if name in ("lr", "batchsize") or name.startswith("model_config")]
    assert len(names) == 4 and [table[0][n] for n in names] == [table[1][n] for n in names]
    assert len(runs) == 2 and runs[0].lr == float(table[0]["lr"]) != runs[1].lr


def test_interrupt_queues_the_trial_again(database, tmp_path, space, monkeypatch, capsys):
    args = words(database, tmp_path, space, "--n_trials", 2, "--epochs", 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 1, 2)
        run(*args)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Resume with: " in line]
    assert shlex.split(line.split("Resume with: ")[1])[-len(args) :] == args
    assert [row["state"] for row in rows(tmp_path)] == ["unfinished"]
    assert not list((tmp_path / "tuning" / "s").glob("trials/*/checkpoints"))
    run(*args)
    table = rows(tmp_path)
    assert [row["state"] for row in table][:2] == ["unfinished", "complete"] and len(table) == 3
    assert table[0]["lr"] == table[1]["lr"] != table[2]["lr"]


def test_sampling_does_not_depend_on_interruptions(database, tmp_path, space, pretend):
    pretend(by_rate)
    run(*words(database, tmp_path / "whole", space, "--n_trials", 14, "--epochs", 9))
    for n in (1, 12, 14):
        run(*words(database, tmp_path / "parts", space, "--n_trials", n, "--epochs", 9))
    whole = without_times(rows(tmp_path / "whole"))
    assert whole == without_times(rows(tmp_path / "parts"))
    assert len({row["lr"] for row in whole}) == 14
    run(*words(database, tmp_path / "other", space, "--n_trials", 1, "--epochs", 9, "--seed", 1))
    assert rows(tmp_path / "other")[0]["lr"] != whole[0]["lr"]


# ---- what goes wrong -----------------------------------------------------------------------------


def test_pruning_ends_poor_trials_and_no_complete_one(database, tmp_path, space, pretend):
    runs = pretend(by_rate)
    run(*words(database, tmp_path, space, "--n_trials", 30, "--epochs", 9))
    table = rows(tmp_path)
    states = [row["state"] for row in table]
    assert {row["epochs"] for row in table if row["state"] == "pruned"} <= {"1", "3"}
    assert {row["epochs"] for row in table if row["state"] == "complete"} == {"9"}
    assert 5 < states.count("pruned") < 28 and len(runs) == 30
    best = max(table, key=lambda row: float(row["val_score"]))
    assert read_config(tmp_path / "tuning" / "s" / "best.yaml", TrainConfig)["lr"] == float(best["lr"])


def test_failed_trials_do_not_end_the_study(database, tmp_path, space, pretend, capsys):
    class OutOfMemoryError(RuntimeError):
        pass

    errors = [None, TwelveLeadError("diverged"), UsageError("too deep"), OutOfMemoryError("4 GiB"), None]

    def score(config, epoch):
        error = errors.pop(0)
        if error:
            raise error
        return 0.8

    pretend(score)
    run(*words(database, tmp_path, space, "--n_trials", 5))
    table = rows(tmp_path)
    assert [row["state"] for row in table] == ["complete", "failed", "failed", "failed", "complete"]
    assert [row["error"] for row in table[1:4]] == ["diverged", "too deep", "OutOfMemoryError: 4 GiB"]
    assert "trial 1: failed: diverged" in capsys.readouterr().out


def test_failed_trials_alone_are_an_error(database, tmp_path, space):
    space.write_text("lr: {choices: [1e30, 1e31]}")
    with pytest.raises(
        TwelveLeadError, match=r"no trial of 2 is complete, .* the first failed with: training div"
    ):
        run(*words(database, tmp_path, space, "--n_trials", 2))
    assert [row["state"] for row in rows(tmp_path)] == ["failed", "failed"]
    assert not (tmp_path / "tuning" / "s" / "best.yaml").exists()


def full_disk():
    error = TwelveLeadError("cannot write: the disk is full")
    error.__cause__ = OSError(28, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [(DataError("no database"), True), (UsageError("no such"), False), (full_disk(), True)],
)
def test_study_with_a_wrong_setup_ends_at_once(database, tmp_path, space, pretend, error, again):
    errors = [error]

    def score(config, epoch):
        if errors:
            raise errors.pop()
        return 0.8

    runs = pretend(score)
    with pytest.raises(type(error), match=str(error)):
        run(*words(database, tmp_path, space, "--n_trials", 2))
    assert len(runs) == 1 and [row["state"] for row in rows(tmp_path)] == ["unfinished"]
    run(*words(database, tmp_path, space, "--n_trials", 2))  # once it is put right
    assert [row["state"] for row in rows(tmp_path)] == ["unfinished", "complete", "complete"]
    assert (runs[1].lr == runs[0].lr) is again


def test_study_without_data_ends_at_once(tmp_path, space, capsys):
    with pytest.raises(SystemExit) as ended:
        call(lambda: run_cli(tuning.main), "tune.py", *words(tmp_path / "absent", tmp_path, space))
    captured = capsys.readouterr()
    assert ended.value.code == 1 and "absent does not exist" in captured.err
    assert captured.out.count("trial ") == 1


def test_study_keeps_the_traceback_of_a_defect(database, tmp_path, space, pretend):
    pretend(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(*words(database, tmp_path, space))
    assert [(row["state"], row["error"]) for row in rows(tmp_path)] == [
        ("failed", "ZeroDivisionError: division by zero")
    ]


def test_study_refuses_other_settings(database, tmp_path, space, pretend):
    pretend(by_rate)
    run(*words(database, tmp_path, space, "--n_trials", 1))
    # the place of the data and the threads do not matter
    run(*words("elsewhere", tmp_path, space, "--n_trials", 2, "--threads", 2))
    with pytest.raises(UsageError, match=r"noise was 0\.0, is 0\.1; choose another --study"):
        run(*words(database, tmp_path, space, "--noise", 0.1))
    space.write_text("lr: {low: 1e-4, high: 1e-1, log: true}")
    with pytest.raises(UsageError, match="space was"):
        run(*words(database, tmp_path, space))
    assert len(rows(tmp_path)) == 2


def test_trial_starts_from_the_weights_of_init(database, tmp_path, space, pretend):
    runs = pretend(by_rate)
    folder = tmp_path / "checkpoints" / "first"
    write_untrained(folder, "ecgnet")
    run(*words(database, tmp_path, space, "--n_trials", 1, "--init", "first"))
    assert runs[0].init == str(folder)
    with pytest.raises(UsageError, match="first weights was"):
        run(*words(database, tmp_path, space, "--n_trials", 2))
    assert yaml.safe_load((tmp_path / "tuning" / "s" / "best.yaml").read_text())["init"] == "first"

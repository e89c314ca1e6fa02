"""Grids that are trained: by one process or several, stopped, killed, resumed and told apart."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.training_files import ROOT, call, interrupt_at, metrics_rows, small_database
from training.experiments import grid as command
from training.experiments.grid_file import read_grid
from training.experiments.grid_runs import claim, read_record
from training.families import TorchFamily
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json, write_json

TINY = {"filters": 2, "kernels": [3, 3, 3], "units": [2, 2]}
FILE = f"""
model: ecgconvnet
model_config: {json.dumps(TINY)}
lr: [1e-2, 1e-3]
seed: [1, 2]
batchsize: 16
epochs: 2
loggers: [csv]
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"), seconds=1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(FILE)
    return path


def words(file, database, out, *more):
    return [file, "--data_dir", database, "--output_dir", out, "--threads", 1, *more]


def run(*args):
    return call(command.main, "grid.py", *args)


def of(out, name="g"):
    return out / "results" / "grids" / name


def scores(out):
    return {run["name"]: (run["score"], run["epoch"]) for run in read_json(of(out) / "grid.json")["runs"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, database):
    """A grid that was trained without a stop."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "g.yaml").write_text(FILE)
    run(*words(folder / "g.yaml", database, folder))
    return folder


def test_grid_writes_one_table_of_validation_scores(trained):
    found = read_json(of(trained) / "grid.json")
    assert [r["status"] for r in found["runs"]] == ["finished"] * 4 and found["axes"] == ["lr", "seed"]
    assert found["runs"][0]["changes"] == {"lr": 0.01, "seed": 1} and found["runs"][0]["fold"] is None
    for entry in found["runs"]:
        rows = metrics_rows(of(trained), entry["name"])
        best = max(float(row["val_macro_roc_auc"]) for row in rows)
        assert entry["score"] == pytest.approx(best, abs=1e-6) and entry["epochs"] == len(rows) == 2
        assert (of(trained) / entry["folder"] / "card.json").exists()
    means = {group["changes"]["lr"]: group for group in found["groups"]}
    pair = [entry["score"] for entry in found["runs"] if entry["changes"]["lr"] == 0.01]
    assert means[0.01]["mean"] == pytest.approx(sum(pair) / 2) and means[0.01]["finished"] == 2
    assert means[0.01]["sd"] == pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)
    ranks = sorted(found["groups"], key=lambda group: group["rank"])
    assert [group["rank"] for group in ranks] == [1, 2] and ranks[0]["mean"] >= ranks[1]["mean"]
    with open(of(trained) / "runs.csv", newline="") as table:
        assert [row["lr"] for row in csv.DictReader(table)] == ["0.01", "0.01", "0.001", "0.001"]
    assert "2 of 2" in (of(trained) / "table.md").read_text() and "Not a medical device" in found["notice"]
    assert not list(of(trained).rglob(".*.lock"))


def test_finished_grid_trains_nothing_again_and_plans_what_is_left(trained, database, capsys, monkeypatch):
    monkeypatch.setattr("training.experiments.grid_runs.train", lambda *_: pytest.fail("trained again"))
    before = scores(trained)
    run(*words(trained / "g.yaml", database, trained))
    assert scores(trained) == before
    more = ["--set", "seed=[1,2,3]", "--measure", False]
    run(*words(trained / "g.yaml", database, trained, "--plan", *more))
    text = capsys.readouterr().out
    assert "| lr-0.01_seed-3 | waiting | 2 | 160 |" in text and "6 runs, 2 of them left: at most" in text


def test_plan_measures_models_that_have_not_run(file, database, tmp_path, capsys):
    run(*words(file, database, tmp_path, "--plan"))
    text = capsys.readouterr().out
    assert "| lr-0.01_seed-1 | waiting | 2 | 160 | 0.0 |" in text and not of(tmp_path).exists()
    run(file, "--data_dir", tmp_path, "--plan")
    assert "| lr-0.01_seed-1 | waiting | 2 | - | - |" in capsys.readouterr().out


def test_grid_resumes_an_interrupted_run_and_replaces_half_written_ones(
    file, database, tmp_path, trained, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1, 1)
        with pytest.raises(KeyboardInterrupt):
            run(*words(file, database, tmp_path))
    assert "stopped; resume with: " in capsys.readouterr().out
    assert read_record(of(tmp_path), "lr-0.01_seed-1")["status"] == "interrupted"
    waiting = of(tmp_path) / "checkpoints" / "lr-0.01_seed-2"
    (waiting / "last").mkdir(parents=True)
    (waiting / "last" / "state.safetensors").write_bytes(b"half")
    (waiting / "model.safetensors").write_bytes(b"half")
    (of(tmp_path) / "runs" / "lr-0.001_seed-1.json").write_text('{"status": "fin')
    run(*words(file, database, tmp_path))
    assert "run lr-0.01_seed-1: resumed" in capsys.readouterr().out
    assert scores(tmp_path) == scores(trained)
    shutil.rmtree(of(tmp_path) / "checkpoints" / "lr-0.001_seed-2")  # finished, but its weights are gone
    run(*words(file, database, tmp_path))
    assert scores(tmp_path) == scores(trained)


def test_grid_trains_finished_runs_again_whose_checkpoint_is_damaged(
    trained, database, tmp_path, monkeypatch, capsys
):
    shutil.copytree(of(trained), of(tmp_path))
    checkpoints = of(tmp_path) / "checkpoints"
    (checkpoints / "lr-0.01_seed-1" / "card.json").write_text("{")
    (checkpoints / "lr-0.001_seed-2" / "model.safetensors").write_bytes(b"half")
    run(*words(trained / "g.yaml", database, tmp_path, "--plan", "--measure", False))
    assert "4 runs, 2 of them left" in capsys.readouterr().out
    begun = []
    train = TorchFamily.train
    monkeypatch.setattr(
        TorchFamily, "train", lambda self, config, *more: begun.append(config) or train(self, config, *more)
    )
    run(*words(trained / "g.yaml", database, tmp_path))
    assert [(c.run, c.resume) for c in begun] == [("lr-0.01_seed-1", False), ("lr-0.001_seed-2", False)]
    assert scores(tmp_path) == scores(trained)


def test_workers_take_over_the_run_of_a_killed_one(file, database, tmp_path):
    """Two local workers; one is killed in the middle of a run. The results are those of one process."""
    epochs = ["--set", "epochs=40", "patience=40", "lr=[0.01]"]
    more = words(file, database, tmp_path / "two", *epochs)
    line = [sys.executable, "-m", "twelvelead", "grid", *map(str, more), "--workers", "2"]
    launched = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    folder, victim = of(tmp_path / "two"), None
    while victim is None:
        assert launched.poll() is None, launched.stdout.read()
        records = [read_json(path) for path in (folder / "runs").glob("[!.]*.json")]
        victim = next((r for r in records if r["status"] == "running" and 0 < r["epochs"] < 20), None)
        time.sleep(0.01)
    os.kill(victim["worker"]["pid"], signal.SIGKILL)
    text, _ = launched.communicate()
    assert launched.returncode == 0, text
    assert "was killed by signal 9" in text
    found = {entry["name"]: entry for entry in read_json(folder / "grid.json")["runs"]}
    assert {entry["status"] for entry in found.values()} == {"finished"}
    assert found[victim["name"]]["worker"]["pid"] != victim["worker"]["pid"]
    assert "resumed" in "".join(path.read_text() for path in (folder / "workers").glob("*.log"))
    run(*words(file, database, tmp_path / "one", *epochs))
    assert scores(tmp_path / "one") == scores(tmp_path / "two")


def test_grid_leaves_a_run_to_the_process_that_has_claimed_it(file, database, tmp_path, monkeypatch, capsys):
    """The second launcher trains the others, and waits for this one."""
    grid = read_grid(file)
    lock = claim(grid.runs[0], of(tmp_path))
    assert lock is not None
    asked = []

    def wait(_):
        asked.append(read_record(of(tmp_path), grid.runs[1].name)["status"])
        lock.release()  # its process has died

    with monkeypatch.context() as patch:
        patch.setattr("training.experiments.grid_runs.time.sleep", wait)
        run(*words(file, database, tmp_path))
    assert asked == ["finished"] and len(scores(tmp_path)) == 4
    order = [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.startswith("--- run")]
    assert order[-1] == grid.runs[0].name


def test_failed_run_does_not_stop_the_others(file, database, tmp_path, capsys, monkeypatch):
    train = TorchFamily.train

    def training(self, config, on_epoch):
        if config.lr > 1:
            raise TwelveLeadError("training diverged")
        return train(self, config, on_epoch)

    monkeypatch.setattr(TorchFamily, "train", training)
    out = words(file, database, tmp_path, "--set", "lr=[2, 1e-2]", "seed=[1]")
    with pytest.raises(TwelveLeadError, match=r"1 of 2 runs failed, .*diverged.*--retry"):
        run(*out)
    found = read_json(of(tmp_path) / "grid.json")
    assert [entry["status"] for entry in found["runs"]] == ["failed", "finished"]
    assert [group["rank"] for group in found["groups"]] == [None, 1]
    capsys.readouterr()
    with pytest.raises(TwelveLeadError):
        run(*out)
    assert "--- run" not in capsys.readouterr().out
    with pytest.raises(TwelveLeadError):
        run(*out, "--retry")
    assert capsys.readouterr().out.count("--- run") == 1


def test_grid_of_both_frameworks_and_folds(database, tmp_path):
    file = tmp_path / "both.yaml"
    file.write_text(
        "name: mixed\nfolds: 3\nbatchsize: 16\nepochs: 1\nloggers: [csv]\nruns:\n"
        f"  net: {{model: ecgconvnet, fold: [1, 2], model_config: {json.dumps(TINY)}}}\n"
        "  keras: {model: mousavi, fold: 1, model_config.filters: [2], model_config.lstm_units: 2}\n"
    )
    run(*words(file, database, tmp_path))
    found = read_json(of(tmp_path, "mixed") / "grid.json")
    assert [(r["framework"], r["fold"]) for r in found["runs"]] == [
        ("torch", 1), ("torch", 2), ("keras", 1),
    ]  # fmt: skip
    assert [group["finished"] for group in found["groups"]] == [2, 1]


def test_grid_refuses_other_settings_under_its_name(trained, database):
    with pytest.raises(UsageError, match=r"was started with other settings: batchsize was 16, is 8"):
        run(*words(trained / "g.yaml", database, trained, "--set", "batchsize=8"))
    with pytest.raises(UsageError, match="epochs was 2, is 1"):
        run(*words(trained / "g.yaml", database, trained, "--set", "epochs=1"))


def test_epochs_of_a_finished_grid_may_grow(trained, database, tmp_path):
    shutil.copytree(of(trained), of(tmp_path))
    run(*words(trained / "g.yaml", database, tmp_path, "--set", "epochs=3", "seed=[1]", "lr=[0.01]"))
    (entry,) = read_json(of(tmp_path) / "grid.json")["runs"]
    assert entry["epochs"] == 3


def test_run_in_a_slurm_job_is_one_process(file, database, tmp_path, monkeypatch):
    """Two tasks of a job are two workers, not two ranks of one training."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    job = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "7"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    run(*words(file, database, tmp_path, "--set", "seed=[1]", "lr=[0.01]", "epochs=1"))
    assert len(scores(tmp_path)) == 1


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (["--set", "folds=90"], UsageError, "patients cannot be divided into 90 folds"),
        (["--set", "epochs"], UsageError, "must be KEY=VALUE"),
        (["--set", "lr=[1"], UsageError, "not valid YAML"),
        (["--data_dir", "nowhere"], DataError, "nowhere"),
    ],
)
def test_grid_says_what_is_wrong(file, database, tmp_path, more, kind, message):
    with pytest.raises(kind, match=message):
        run(*words(file, database, tmp_path, *more))


def test_grid_without_a_file_has_exit_code_2(tmp_path):
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    with pytest.raises(UsageError, match="No such file"):
        run(tmp_path / "none.yaml")


def test_records_from_another_version_are_read_as_waiting(file, tmp_path):
    write_json(of(tmp_path) / "runs" / "a.json", [1])
    assert read_record(of(tmp_path), "a") == {"status": "waiting"}

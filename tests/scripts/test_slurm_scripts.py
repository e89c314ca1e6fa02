"""The SLURM scripts: their directives are SLURM's, and the commands that they run exist."""

import os
import re
import subprocess
import sys

import pytest

from models_torch.protoecgnet import BRANCHES
from tests.helpers.training_files import ROOT
from training.experiments.tune_plan import parse_plan
from training.families import family_of
from utils.config import parse

FOLDER = ROOT / "scripts" / "slurm"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))
DIRECTIVES = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks": r"\d+",
    "cpus-per-task": r"\d+",
    "mem": r"\d+[KMGT]",
    "time": r"\d{2}:\d{2}:\d{2}",
    "gres": r"gpu:\d+",
    "array": r"\d+-\d+",
    "output": r"slurm-%x-(%A_%a|%j)\.out",
    "open-mode": r"append",
    "requeue": r"",
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_directives_are_those_of_sbatch(path):
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    found = [line for line in lines if line.startswith("#SBATCH")]
    assert found == lines[1 : 1 + len(found)]  # sbatch stops reading at the first command
    for line in found:
        name, _, value = line.removeprefix("#SBATCH --").partition("=")
        assert re.fullmatch(DIRECTIVES[name], value), line
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    array = any("--array" in line for line in found)
    assert array == ("SLURM_ARRAY_TASK_ID" in path.read_text()) or path.stem == "tune"
    assert ("%A_%a" in path.read_text()) == array


def commands(path, tmp_path, **environment):
    """Words of each command that a script runs."""
    recorder, record = tmp_path / "python", tmp_path / "record"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{record}"\necho -- >> "{record}"\n')
    recorder.chmod(0o755)
    settings = {
        "PYTHON": str(recorder),
        "DATA_DIR": "d",
        "OUTPUT_DIR": str(tmp_path),
        "SLURM_CPUS_PER_TASK": "3",
    }
    subprocess.run(["bash", path], cwd=ROOT, env={**os.environ, **settings, **environment}, check=True)
    return [part.split("\n") for part in record.read_text().removesuffix("\n--\n").split("\n--\n")]


def trained(words):
    assert words[0] == "torch_train.py"
    return family_of("protoecgnet").parse(words[1:], "protoecgnet")


@pytest.mark.parametrize("task", range(3))
def test_branch_trains_its_stages(tmp_path, task):
    configs = [
        trained(w) for w in commands(FOLDER / "branch.sbatch", tmp_path, SLURM_ARRAY_TASK_ID=str(task))
    ]
    assert [config.training_stage for config in configs] == ["joint", "projection", "classifier"]
    assert {config.branch for config in configs} == {list(BRANCHES)[task]}
    assert {(config.threads, config.data_dir, config.resume) for config in configs} == {(3, "d", False)}


def test_branch_resumes_what_was_begun(tmp_path):
    folder = tmp_path / "checkpoints" / "protoecgnet" / "rhythm"
    for name in ("joint/last/state.safetensors", "projection/card.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    configs = [trained(w) for w in commands(FOLDER / "branch.sbatch", tmp_path, SLURM_ARRAY_TASK_ID="0")]
    assert [(c.training_stage, c.resume) for c in configs] == [("joint", True), ("classifier", False)]


def test_stage_and_fusion_are_one_command(tmp_path):
    (words,) = commands(
        FOLDER / "stage.sbatch", tmp_path, SLURM_ARRAY_TASK_ID="2", STAGE="feature_extractor", RUN="mine"
    )
    config = trained(words)
    assert (config.branch, config.training_stage, config.run) == ("global", "feature_extractor", "mine")
    (tmp_path / "record").unlink()
    (words,) = commands(FOLDER / "fusion.sbatch", tmp_path)
    config = trained(words)
    assert (config.branch, config.training_stage) == ("", "fusion")


def test_scores_of_branches_and_fusion_are_asked_for(tmp_path):
    found = []
    for words in commands(FOLDER / "test.sbatch", tmp_path):
        assert words[0] == "torch_test.py"
        found.append(parse(family_of("protoecgnet").score_options, words[1:]))
    assert [options.branch for options in found] == [*BRANCHES, ""]
    assert {options.run for options in found} == {"protoecgnet"}


def test_study_of_a_branch_is_shared_by_the_jobs(tmp_path):
    (words,) = commands(FOLDER / "tune.sbatch", tmp_path, BRANCH="rhythm")
    assert words[:2] == ["-m", "training.experiments.tune"]
    plan = parse_plan(words[2:])
    assert plan.study == "protoecgnet-rhythm-joint" and plan.options.n_trials == 50


def test_submission_chains_the_jobs(tmp_path):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\nwc -l < "{tmp_path}/asked"\n')
    sbatch.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    line = ["sh", FOLDER / "submit.sh", "--partition=gpu"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [re.findall(r"afterok:(\d+)", words) for words in asked] == [[], ["1"], ["2"]]
    assert [words.split()[-1] for words in asked] == [
        f"scripts/slurm/{n}.sbatch" for n in ("branch", "fusion", "test")
    ]
    assert all("--partition=gpu" in words for words in asked)
    assert done.stdout.split() == ["submitted", "branches", "1,", "fusion", "2,", "test", "3"]


def test_scripts_are_in_their_list():
    text = (FOLDER / "README.md").read_text()
    assert all(f"`{path.name}`" in text for path in [*SCRIPTS, FOLDER / "submit.sh"])
    assert sys.platform == "win32" or len(SCRIPTS) == 5

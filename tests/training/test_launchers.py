"""Workers as processes, SLURM jobs and Ray tasks."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from training.experiments import launchers
from training.experiments.launchers import SlurmWorker, gpu_of, launch_local, launch_ray, launch_slurm
from utils.errors import UsageError

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def touch(path):
    return [sys.executable, "-c", f"import os; open(r'{path}' + str(os.getpid()), 'w').close()"]


def test_local_workers_run_one_command_each(tmp_path):
    ticks = []
    assert launch_local(touch(tmp_path / "w"), 2, tmp_path / "logs", lambda: ticks.append(1)) == [0, 0]
    assert len(list(tmp_path.glob("w*"))) == 2 and ticks
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["1.log", "2.log"]


def test_local_workers_end_with_their_launcher(tmp_path):
    def stop():
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch_local(SLEEP, 2, tmp_path, stop)
    assert time.monotonic() - began < 300  # they slept for ten minutes


def test_local_worker_that_fails_is_named(tmp_path, caplog):
    code = [sys.executable, "-c", "raise SystemExit(2)"]
    assert launch_local(code, 1, tmp_path, lambda: None) == [2]
    assert "worker 1" in caplog.text and "ended with code 2" in caplog.text


def test_gpu_of_each_worker(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [gpu_of(i)["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["3", "5", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert gpu_of(1) == {}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The commands of SLURM that submitit asks for; sbatch takes every job."""
    for name in ("sbatch", "srun"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho Submitted batch job 12\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_slurm_jobs_ask_for_what_they_need(tmp_path, slurm):
    how = {"slurm_partition": "gpu", "timeout_min": 90, "gpus_per_node": 1, "mem_gb": 8}
    assert launch_slurm(SLEEP, 3, tmp_path, "small", 4, how) == ["12_0", "12_1", "12_2"]
    script = tmp_path / "slurm" / "12_submission.sh"
    lines = script.read_text().splitlines()
    for wanted in (
        "--array=0-2%3", "--cpus-per-task=4", "--partition=gpu", "--time=90", "--gpus-per-node=1",
        "--mem=8GB", "--job-name=grid-small", "--open-mode=append",
    ):  # fmt: skip
        assert f"#SBATCH {wanted}" in lines
    assert "submitit.core._submit" in lines[-1]


@pytest.mark.parametrize("how", [{"partitoin": "gpu"}, {"cluster": "slrm"}, {"timeout_min": "long"}])
def test_slurm_parameters_with_mistakes_are_refused(tmp_path, slurm, how):
    with pytest.raises(UsageError, match="--slurm"):
        launch_slurm(SLEEP, 1, tmp_path, "small", 1, how)


def test_slurm_that_is_absent_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--slurm"):
        launch_slurm(SLEEP, 1, tmp_path, "small", 1, {})


def test_submitit_that_is_absent_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match="pip install submitit"):
        launch_slurm(SLEEP, 1, tmp_path, "small", 1, {})


def test_jobs_of_submitit_run_on_this_machine(tmp_path):
    code = (
        "from pathlib import Path\nfrom training.experiments.launchers import launch_slurm\n"
        f"launch_slurm({touch(tmp_path / 'w')!r}, 2, Path({str(tmp_path)!r}), 'x', 1, {{'cluster': 'local'}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for _ in range(3000):
        if len(list(tmp_path.glob("w*"))) == 2:
            break
        time.sleep(0.1)
    assert len(list(tmp_path.glob("w*"))) == 2


def test_job_that_is_preempted_stops_its_command_and_is_queued_again(tmp_path):
    worker = SlurmWorker(SLEEP, str(tmp_path))
    worker.child = subprocess.Popen(SLEEP)
    again = worker.checkpoint(4)
    assert worker.child.returncode == -15
    assert again.function.words == SLEEP and again.function.child is None and again.args == (4,)


def test_job_whose_command_fails_has_failed(tmp_path):
    with pytest.raises(RuntimeError, match="ended with code 3"):
        SlurmWorker([sys.executable, "-c", "raise SystemExit(3)"], str(tmp_path))(0)


@pytest.mark.slow
def test_ray_tasks_run_one_command_each(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a short name, as Ray makes sockets there
    monkeypatch.setenv("RAY_TMPDIR", folder)
    code = (
        "from training.experiments.launchers import launch_ray\n"
        f"print(launch_ray({touch(tmp_path / 'w')!r}, 2, 1, lambda: None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    assert "[0, 0]" in done.stdout, done.stderr
    assert len(list(tmp_path.glob("w*"))) == 2


def test_ray_that_is_absent_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="the extra `ray`"):
        launch_ray(SLEEP, 1, 1, lambda: None)
    assert launchers.LAUNCHERS == ("local", "slurm", "ray")

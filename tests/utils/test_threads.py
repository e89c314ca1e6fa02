"""Threads: as many as the process may use, and none that burns the CPU while it waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.threads import cpu_quota, thread_count

ROOT = Path(__file__).resolve().parents[2]


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_cpu_quota_of_a_container_and_of_a_service(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/\n")
    write(root)
    assert cpu_quota(root, own) is None
    write(root, cpu__max="max 100000\n")
    assert cpu_quota(root, own) is None
    write(root, cpu__max="150000 100000\n")
    assert cpu_quota(root, own) == 1.5
    own.write_text("0::/system.slice/ecg.service\n")
    write(root / "system.slice" / "ecg.service", cpu__max="max 100000\n")
    write(root / "system.slice", cpu__max="50000 100000\n")
    assert cpu_quota(root, own) == 0.5
    assert cpu_quota(root, tmp_path / "absent") == 1.5


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("200000", 2), ("x", None)])
def test_cpu_quota_of_version_1(tmp_path, quota, expected):
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n")
    group = root / "cpu" / "docker" / "ab"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota)
    (group / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(root, own) == expected


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.5, 1), (2.5, 3), (64.0, 8)])
def test_thread_count_follows_quota_and_affinity(monkeypatch, quota, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("utils.threads.cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert thread_count() == count and thread_count(5) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is Linux's")
@pytest.mark.parametrize(("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_wait_passively_before_torch_is_imported(given, policy):
    code = "import training.torch_io, os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {**given, "OMP_DISPLAY_ENV": "TRUE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [policy]
    displayed = [line for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert displayed and all(f"'{policy}'" in line for line in displayed), done.stderr


BEFORE_TORCH = """
import importlib, os, sys

class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Spy())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize(
    "module",
    ["models_torch.ecgnet", "training.torch_io", "explain.engine.fast", "attribution.compute",
     "benchmarks.speed.plain_torch"],
)  # fmt: skip
def test_threads_wait_passively_whatever_is_imported_first(module):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", BEFORE_TORCH, module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["PASSIVE"]

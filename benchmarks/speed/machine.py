"""The machine that measures: what it is, and how fast it is at two fixed jobs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from utils.provenance import git_commit, versions


def cpu_seconds(job: Callable[[], Any]) -> float:
    """CPU time of one call, of all threads of this process."""
    start = time.process_time()
    job()
    return time.process_time() - start


def describe() -> dict[str, Any]:
    """Describe machine, software and moment."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "system": platform.system(),
        "packages": versions(),
        "git_commit": git_commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def noise_dataset(labels: np.ndarray, rng: np.random.Generator) -> Any:
    """Noise in the shape of PTB-XL; speed does not depend on what the signals show."""
    from preprocessing import Dataset

    count, classes = labels.shape
    return Dataset(
        signals=rng.standard_normal((count, 1000, 12), dtype=np.float32),
        targets=labels,
        classes=[f"class {index}" for index in range(classes)],
        ids=np.arange(count),
        patients=np.arange(count),
        splits=np.full(count, "train"),
        sampling_rate=100,
    )


def calibrate(repetitions: int = 5) -> dict[str, float]:
    """Time two fixed jobs on one thread, so that another machine's figures can be put beside these."""
    import torch

    torch.set_num_threads(1)
    a = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    conv = torch.nn.Conv1d(64, 64, 17, padding=8)
    x = torch.randn(32, 64, 1000, requires_grad=True)

    def best(job: Callable[[], Any]) -> float:
        job()
        return round(min(cpu_seconds(job) for _ in range(repetitions)), 5)

    return {"matmul_1024": best(lambda: a @ a), "conv1d": best(lambda: conv(x).sum().backward())}

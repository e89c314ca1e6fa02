"""Wall time of ECGNet on two threads, with and without other processes that keep every core busy.

PyTorch's threads (GNU OpenMP) spin at each barrier by default, for some milliseconds, before they sleep. With
other work on the cores the thread that is waited for cannot run meanwhile. TwelveLead lets threads sleep at
once and runs the forward pass of an LSTM, which has a barrier in each time step, on one thread.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.speed.model_steps import torch_jobs
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured

THREADS = 2
WAYS = {
    "plain": {"GOMP_SPINCOUNT": "300000"},  # the default of GNU OpenMP
    "ours": {"OMP_WAIT_POLICY": "PASSIVE"},
}
_JOBS = {"infer": (1, 30), "train": (32, 2)}  # records and repetitions


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep cores busy with other processes."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wall_times(job: str, plain: bool) -> dict[str, Any]:
    """Wall seconds of each repetition of one job in this process, after a warm-up."""
    import torch

    records, repetitions = _JOBS[job]
    train, infer = torch_jobs("ecgnet", plain, records)
    torch.set_num_threads(THREADS)
    run = {"train": train, "infer": infer}[job]
    run()
    seconds = []
    for _ in range(repetitions):
        began = time.perf_counter()
        run()
        seconds.append(round((time.perf_counter() - began) / records, 6))
    return {"seconds": seconds}


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure both ways in turn, each time in a fresh process, on cores as they are found and busy."""
    report: dict[str, Any] = {}
    cores = os.cpu_count() or 1
    for load, others in (("as found", 0), ("busy", cores)):
        report[load] = {}
        for job in _JOBS:
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way, environment in WAYS.items():
                    with busy_cores(others):
                        done = measured("busy_cpu:wall_times", environment, job=job, plain=way == "plain")
                    seconds[way] += done["seconds"]
            entry: dict[str, Any] = {
                way: {"median": median(s), "largest": max(s), "runs": s} for way, s in seconds.items()
            }
            entry["ratio"] = round(entry["plain"]["median"] / entry["ours"]["median"], 2)
            report[load][job] = entry
    return {"wall_seconds_per_record": report}

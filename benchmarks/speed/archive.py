"""What an archive costs with `inference.py --engine ray`: CPU time and throughput of two local workers.

Between the first shards and the last: starting Ray and loading the models is left out, which an archive of
millions does once. CPU time is that of the workers and of the processes that read for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.options import SpeedOptions
from databases.synthetic import write_dataset
from explain.archive import MANIFEST
from utils.errors import TwelveLeadError

MODELS = ("imle_net", "ecgnet")
_WORKERS, _SHARD = 2, 50
_ROOT = Path(__file__).resolve().parents[2]


class _Sample(NamedTuple):
    """Shards that are complete, time in s, and CPU seconds so far."""

    shards: int
    time: float
    cpu: float


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Predict one folder with each model."""
    if sys.platform != "linux":
        raise TwelveLeadError("the benchmark of archives reads the CPU time of processes in /proc")
    models = {}
    with tempfile.TemporaryDirectory(prefix="a", dir="/tmp") as temporary:
        folder = Path(temporary)
        write_dataset(folder, options.folder_records)
        for model in MODELS:
            first, last = _run(model, folder)
            records = (last.shards - first.shards) * _SHARD
            models[model] = {
                "records": records,
                "ms_per_record": round(1e3 * (last.time - first.time) / records, 2),
                "cpu_ms_per_record": round(1e3 * (last.cpu - first.cpu) / records, 2),
            }
    return {"workers": _WORKERS, "shard_size": _SHARD, "models": models}


def _run(model: str, folder: Path) -> tuple[_Sample, _Sample]:
    """Samples after the first shard of each worker, and at the last moment."""
    out = folder / f"out_{model}"
    manifest = out / "results" / model / "archive" / MANIFEST
    words = ["inference.py", "--dir", folder / "records100", "--model", model, "--no_pictures"]
    words += ["--engine", "ray", "--workers", _WORKERS, "--shard_size", _SHARD, "--output_dir", out]
    samples: list[_Sample] = []
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=_ROOT,
        env=os.environ | {"RAY_TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        shards = manifest.read_bytes().count(b"\n") - 1 if manifest.exists() else 0
        if shards >= _WORKERS and (not samples or shards > samples[-1].shards):
            samples.append(_Sample(shards, time.perf_counter(), _cpu_seconds(process.pid)))
        time.sleep(0.05)
    if process.returncode or len(samples) < 2:
        raise TwelveLeadError(f"inference.py with {model} has ended with {process.returncode}")
    return samples[0], max(samples, key=lambda sample: sample.cpu)


def _cpu_seconds(parent: int) -> float:
    """CPU seconds of the workers that a process has started, and of those that read for them."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            title = (path / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        parents[int(path.name)] = int(fields[1])
        if b"MapWorker" in title or b"multiprocessing" in title:
            seconds[int(path.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total, level = 0.0, {parent}
    while level := {process for process, above in parents.items() if above in level}:
        total += sum(seconds.get(process, 0) for process in level)
    return total

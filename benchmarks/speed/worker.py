"""Run one measured function in a fresh Python process on one thread, and learn its peak memory."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.checkpoint import ROOT
from utils.errors import TwelveLeadError, UsageError

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "",
}


def measured(
    function: str, environment: Mapping[str, str] | None = None, /, **arguments: Any
) -> dict[str, Any]:
    """Call a function of this package in a separate process, with further variables of the environment."""
    command = [sys.executable, "-m", "benchmarks.speed.worker", function, json.dumps(arguments)]
    variables = {**os.environ, **ONE_THREAD, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise TwelveLeadError(f"measuring {function} failed: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def both_ways(function: str, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Call a function for ours and then for the plain way, each in a separate process."""
    return {kind: measured(function, plain=kind == "plain", **arguments) for kind in ("ours", "plain")}


def peak_rss_mb() -> float:
    """Most memory that this process held so far, memory-mapped pages that it touched included."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins there with what the starting process held
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return round(int(fields["VmHWM"].split()[0]) * 1024 / 1e6, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def main() -> None:
    """Run the function that the command line names and print its result as JSON."""
    if len(sys.argv) != 3 or ":" not in sys.argv[1]:
        raise UsageError("this module is started by `python -m benchmarks.speed`")
    module, function = sys.argv[1].split(":")
    result = getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)(
        **json.loads(sys.argv[2])
    )
    print(json.dumps({**result, "peak_rss_mb": peak_rss_mb()}))


if __name__ == "__main__":
    main()

"""CPU threads: how many a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def thread_count(asked: int = 0) -> int:
    """CPU threads to use: as asked, as OMP_NUM_THREADS says, or as many as this process may run on."""
    if asked:
        return asked
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs that the control group of a container may use; None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, ``cpu.max``; ``cpu.cfs_quota_us`` in version 1.
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        except OSError:
            return None
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return limit if limit > 0 else None

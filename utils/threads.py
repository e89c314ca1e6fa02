"""CPU threads: how many a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def thread_count(asked: int = 0) -> int:
    """CPU threads to use: as asked, as OMP_NUM_THREADS says, or as many as this process may run on."""
    if asked:
        return asked
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(root: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUPS) -> float | None:
    """CPUs that the control groups of this process may use; None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, ``cpu.max``; ``cpu.cfs_quota_us`` in version 1. Inside
    a container the root is the container's own group; a service has its group below the root.
    """
    groups = {root, root / "cpu"}
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    for _, controllers, path in lines:
        if controllers == "" or "cpu" in controllers.split(","):
            top = root / "cpu" if controllers else root
            inside = Path(path.lstrip("/"))
            groups |= {top / part for part in (inside, *inside.parents) if ".." not in part.parts}
    limits = [limit for group in groups if (limit := _quota_of(group)) is not None]
    return min(limits, default=None)


def _quota_of(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        limit = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or "max": no limit
        return None
    return limit if limit > 0 else None

"""Workers of a command: local processes, SLURM jobs or Ray tasks that all run one and the same command line.

Workers know nothing of each other: whoever ends first, or is killed, leaves its work to the others.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from utils.errors import TwelveLeadError, UsageError

logger = logging.getLogger(__name__)

LAUNCHERS = ("local", "slurm", "ray")
_POLL = 0.5  # seconds
_TRIES = 3  # of a Ray task whose machine is lost


def launch_local(words: Sequence[str], workers: int, folder: Path, tick: Callable[[], Any]) -> list[int]:
    """Run a command in several processes until all have ended; return their exit codes.

    ``folder``: for the output of each worker.
    ``tick``: called about twice a second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    children: list[subprocess.Popen] = []
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for number in range(workers):
            with open(folder / f"{number + 1}.log", "ab") as log:
                environment = os.environ | gpu_of(number)
                # a group of its own: Ctrl-C reaches the workers once, from here
                child = subprocess.Popen(
                    words, stdout=log, stderr=log, env=environment, start_new_session=True
                )
                children.append(child)
        reported: set[int] = set()
        while any(child.poll() is None for child in children):
            _report_ends(children, reported, folder)
            tick()
            time.sleep(_POLL)
        _report_ends(children, reported, folder)
    except BaseException:
        for child in children:
            child.terminate()  # which lets a run save its state
        for child in children:
            child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return [child.returncode for child in children]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _report_ends(children: Sequence[subprocess.Popen], reported: set[int], folder: Path) -> None:
    """Warn once of each worker that has not ended by itself."""
    for number, child in enumerate(children, 1):
        code = child.poll()
        if code and number not in reported:
            reported.add(number)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            logger.warning(f"worker {number} (process {child.pid}) {how}, see {folder / f'{number}.log'}")


def gpu_of(worker: int) -> dict[str, str]:
    """Environment in which a worker sees one of the GPUs; nothing where there is at most one."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        devices = [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]
    else:
        devices = [word for word in listed.split(",") if word]
    return {"CUDA_VISIBLE_DEVICES": devices[worker % len(devices)]} if len(devices) > 1 else {}


class SlurmWorker:
    """A command as a SLURM job, which is queued again when it is preempted or its time is over."""

    def __init__(self, words: Sequence[str], folder: str):
        self.words, self.folder = list(words), folder
        self.child: Any = None

    def __call__(self, number: int) -> int:
        """Run the command."""
        self.child = subprocess.Popen(self.words, cwd=self.folder, start_new_session=True)
        code = self.child.wait()
        if code:
            raise RuntimeError(f"{shlex.join(self.words)} ended with code {code}")
        return number

    def checkpoint(self, number: int) -> Any:
        """Let the run save its state, and ask for another job."""
        from submitit.helpers import DelayedSubmission

        if self.child is not None:
            self.child.terminate()
            self.child.wait()
        return DelayedSubmission(SlurmWorker(self.words, self.folder), number)


def launch_slurm(
    words: Sequence[str], workers: int, folder: Path, name: str, threads: int, how: Mapping[str, Any]
) -> list[str]:
    """Submit a command as an array of SLURM jobs; return the ids of the jobs.

    ``how``: parameters of submitit's executor, such as ``slurm_partition``, ``timeout_min``, ``mem_gb``;
        ``cluster: local`` runs them on this machine.

    Raises
    ------
    UsageError
        submitit is not installed, SLURM is not there, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise UsageError(
            "--launcher slurm needs submitit: pip install submitit (the extra `slurm`)"
        ) from error
    options = dict(how)
    cluster = options.pop("cluster", "slurm")
    try:
        executor = submitit.AutoExecutor(folder=folder / "slurm", cluster=cluster)
        executor.update_parameters(
            **{"name": f"grid-{name}", "cpus_per_task": max(1, threads), "timeout_min": 24 * 60} | options
        )
        jobs = executor.map_array(SlurmWorker(words, os.getcwd()), range(workers))
    except (NameError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise UsageError(f"--slurm: {error}") from error
    except (submitit.core.utils.FailedJobError, OSError) as error:
        raise TwelveLeadError(f"SLURM has not taken the jobs: {error}") from error
    return [str(job.job_id) for job in jobs]


def launch_ray(words: Sequence[str], workers: int, threads: int, tick: Callable[[], Any]) -> list[int]:
    """Run a command in Ray tasks until all have ended; return their exit codes.

    The cluster is that of RAY_ADDRESS; without one, Ray is started on this machine and stopped at the end.

    Raises
    ------
    UsageError
        Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    try:
        import ray
    except ImportError as error:
        raise UsageError("--launcher ray needs Ray: pip install 'ray[data]' (the extra `ray`)") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"num_cpus": workers * max(1, threads), "include_dashboard": False}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TwelveLeadError(f"Ray cannot be started: {error}; see /tmp/ray for its logs") from error
    try:
        task = ray.remote(_run_in).options(num_cpus=max(1, threads), max_retries=_TRIES)
        left = [task.remote(list(words), os.getcwd()) for _ in range(workers)]
        codes = []
        while left:
            done, left = ray.wait(left, timeout=_POLL)
            codes += ray.get(done)
            tick()
        return codes
    except ray.exceptions.RayError as error:
        raise TwelveLeadError(f"Ray has given up ({error}); the same command continues") from error
    finally:
        ray.shutdown()


def _run_in(words: list[str], folder: str) -> int:
    """Run a command in a folder."""
    return subprocess.run([sys.executable, *words[1:]], cwd=folder, check=False).returncode

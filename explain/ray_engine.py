"""Shards predicted by a Ray Data pipeline, on this machine or on a cluster."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from explain.archive import Shard, ShardWork, Written
from preprocessing.recordings.ahead import ReadingPool
from utils import plugins
from utils.errors import TwelveLeadError, UsageError
from utils.threads import thread_count

_STORE_BYTES = 2**28  # of the object store: only lists of files go through it
_INHERITED = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", plugins.VARIABLE)
_ADDRESS = "RAY_ADDRESS"


class _Worker:
    """An actor: a model in a process of its own that predicts one shard after the other."""

    work: ShardWork  # of the class: an actor that is started again needs no argument, which might be lost

    def __init__(self) -> None:
        plugins.load()
        self._predictor = self.work.load()
        self._pool = ReadingPool(1)

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shards = [Shard(**json.loads(text)) for text in rows["shard"]]
        written = [self.work.predict(self._predictor, shard, self._pool) for shard in shards]
        return {"written": np.array([json.dumps(dataclasses.asdict(item)) for item in written], object)}


def run_on_ray(work: ShardWork, shards: Sequence[Shard], workers: int = 0) -> Iterator[Written]:
    """Predict shards with a number of workers (0: one for each CPU), each on ``work.threads``.

    The cluster is that of RAY_ADDRESS; without one, Ray is started on this machine and stopped at the end.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--engine ray needs Ray: pip install 'ray[data]' (the extra `ray`)") from error
    started = not ray.is_initialized()
    if started:
        _start(ray, workers or max(1, thread_count() // work.threads), work.threads)
    try:
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1) // work.threads))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # as JSON: Arrow refuses file names that are not UTF-8
        items = [{"shard": json.dumps(dataclasses.asdict(shard))} for shard in shards]
        written = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            type("ShardWorker", (_Worker,), {"work": work}),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(items))),
            num_cpus=work.threads,
        )
        for row in written.iter_rows():
            yield Written(**json.loads(row["written"]))
    except ray.exceptions.RayError as error:
        raise TwelveLeadError(
            f"Ray has given up ({_reason(error)}); what is complete is kept, and the same command continues"
        ) from error
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, workers: int, threads: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    options["runtime_env"] = {"env_vars": environment}
    if not os.environ.get(_ADDRESS):
        options |= {"num_cpus": workers * threads, "include_dashboard": False}
        options["object_store_memory"] = _STORE_BYTES
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TwelveLeadError(f"Ray cannot be started: {error}; see /tmp/ray for its logs") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _reason(error: BaseException) -> str:
    """Last line of an error of a worker, which holds the traceback there."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else type(error).__name__

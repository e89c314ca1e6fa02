"""A folder through `inference.py --no_pictures`, beside the model alone and one file at a time.

The model computes on one thread, and a process reads ahead on another core. *Alone* is the model on signals
in memory, in the same batches: no folder can be faster. *One by one* reads, predicts and writes a file before
it opens the next, as the command did before. The three are timed in turn in one process.
"""

from __future__ import annotations

import contextlib
import io
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured, peak_rss_mb
from databases.synthetic import write_dataset

MODELS = ("imle_net", "ecgnet")
_BATCH = 32
_ONE_BY_ONE = 10  # one recording in ten is predicted one by one: the time is proportional


def times(model: str, folder: str, rounds: int) -> dict[str, Any]:
    """Seconds and CPU seconds of this process for each way, in turn, after a warm-up."""
    from explain.batch import predict_many
    from preprocessing.recordings.ahead import Reading
    from preprocessing.recordings.search import Search, search_recordings
    from training.predictor import load_predictor

    predictor = load_predictor(model)
    reading = Reading(predictor.sampling_rate, predictor.samples)
    search = search_recordings([folder])
    part = Search(search.recordings[::_ONE_BY_ONE], base=search.base)
    signals = np.stack([reading.read(path).signal for path in search.recordings[: 8 * _BATCH]])
    predictor.predict(signals[:_BATCH], _BATCH)
    memory = {"begin": peak_rss_mb()}

    def alone() -> int:
        for first in range(0, len(search.recordings), len(signals)):
            predictor.predict(signals[: len(search.recordings) - first], _BATCH)
        return len(search.recordings)

    def folder_at_once() -> int:
        predict_many(
            predictor, search, results / "many", reading, explain=False, batch_size=_BATCH, workers=1
        )
        return len(search.recordings)

    jobs: dict[str, Callable[[], int]] = {
        "alone": alone,
        "folder": folder_at_once,
        "one_by_one": lambda: _one_by_one(predictor, reading, part.recordings, results / "one"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    cpu["reading"] = []
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        results = Path(temporary)
        for _ in range(rounds):
            for name, job in jobs.items():
                start, start_cpu, start_children = time.perf_counter(), time.process_time(), _children()
                count = job()
                seconds[name].append((time.perf_counter() - start) / count)
                cpu[name].append((time.process_time() - start_cpu) / count)
                if name == "folder":
                    cpu["reading"].append((_children() - start_children) / count)
                    memory.setdefault("folder", peak_rss_mb())
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _one_by_one(predictor: Any, reading: Any, recordings: list[Path], results: Path) -> int:
    """Predict file by file: one forward pass and one durable file each."""
    from explain.attention import predict_recording
    from utils.files import write_json

    for path in recordings:
        prediction = predict_recording(predictor, reading.read(path))
        write_json(results / path.stem / "prediction.json", prediction)
    return len(recordings)


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure each model in a fresh process on one thread."""
    report, records = {}, options.folder_records
    with tempfile.TemporaryDirectory() as temporary:
        write_dataset(temporary, records)
        folder = str(Path(temporary) / "records100")
        for model in MODELS:
            timed = measured("folder:times", model=model, folder=folder, rounds=options.repetitions)
            ms = {name: round(1e3 * median(values), 3) for name, values in timed["seconds"].items()}
            cpu = {name: round(1e3 * median(values), 3) for name, values in timed["cpu"].items()}
            pairs = zip(timed["seconds"]["alone"], timed["seconds"]["folder"], strict=True)
            ratios = [alone / folder_time for alone, folder_time in pairs]
            report[model] = {
                "ms_per_record": ms,
                "cpu_ms_per_record": cpu,
                "throughput": round(median(ratios), 3),
                "throughputs": [round(ratio, 3) for ratio in ratios],
                # on cores of their own the slower of the two processes sets the pace
                "throughput_in_cpu_time": round(cpu["alone"] / max(cpu["folder"], cpu["reading"]), 3),
                "times_faster_than_one_by_one": round(ms["one_by_one"] / ms["folder"], 2),
                "memory_mb": timed["memory"],
            }
    return {"records": records, "batch_size": _BATCH, "models": report}

"""Reading of PTB-XL at 100 Hz: the direct reader with checksums beside wfdb, record by record."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured
from databases.ptbxl import read_database
from databases.ptbxl_signals import RecordReader, file_states
from databases.synthetic import write_dataset
from databases.wfdb_files import import_wfdb
from preprocessing.ptbxl import open_signals
from preprocessing.signals import ScaledSignals

_BATCH = 32


def _records(data_dir: str) -> tuple[list[int], list[str]]:
    database = read_database(data_dir)
    return database.index.tolist(), database["filename"].tolist()


def with_wfdb(data_dir: str) -> dict[str, float]:
    """Read every record with `wfdb.rdsamp`, which verifies no checksum."""
    _, names = _records(data_dir)
    wfdb = import_wfdb()
    wfdb.rdsamp(f"{data_dir}/{names[0]}")  # what it imports on first use does not count
    seconds = cpu_seconds(lambda: [wfdb.rdsamp(f"{data_dir}/{name}") for name in names])
    return {"wfdb": 1e3 * seconds / len(names)}


def with_reader(data_dir: str) -> dict[str, float]:
    """Read and verify every record without a cache: file states, headers, samples, checksums."""
    ids, names = _records(data_dir)

    def job() -> None:
        file_states(data_dir, names)
        for _ in RecordReader(data_dir, ids, names, 100).blocks():
            pass

    return {"read_and_verify": 1e3 * cpu_seconds(job) / len(names)}


def with_cache(data_dir: str, cache_dir: str) -> dict[str, float]:
    """Make the cache, open it again, and go through it in batches of float32 mV."""
    ids, names = _records(data_dir)

    def load() -> ScaledSignals:
        return ScaledSignals(open_signals(data_dir, ids, names, 100, cache_dir).samples)

    first = cpu_seconds(load)
    again = cpu_seconds(load)
    signals = load()
    batches = cpu_seconds(lambda: [signals[i : i + _BATCH] for i in range(0, len(names), _BATCH)])
    seconds = {"read_verify_and_cache": first, "open_cache": again, "batches_from_cache": batches}
    return {key: 1e3 * value / len(names) for key, value in seconds.items()}


def _warm_page_cache(data_dir: str) -> None:
    for name in _records(data_dir)[1]:
        for suffix in (".hea", ".dat"):
            (Path(data_dir) / (name + suffix)).read_bytes()


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure all ways in turn, each time in fresh processes, with the files in the page cache."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(Path(options.data_dir).resolve()) if options.data_dir else f"{temporary}/synthetic"
        if not options.data_dir:
            write_dataset(folder, options.read_records)
        _warm_page_cache(folder)
        times: dict[str, list[float]] = {}
        for repetition in range(options.repetitions):
            process = measured("reading:with_wfdb", data_dir=folder)
            process |= measured("reading:with_reader", data_dir=folder)
            cache = f"{temporary}/cache{repetition}"
            process |= measured("reading:with_cache", data_dir=folder, cache_dir=cache)
            del process["peak_rss_mb"]
            for name, value in process.items():
                times.setdefault(name, []).append(round(value, 5))
        count = len(_records(folder)[1])
    medians = {name: median(values) for name, values in times.items()}
    return {
        "data": "PTB-XL at 100 Hz" if options.data_dir else "synthetic, in PTB-XL's layout, 100 Hz",
        "records": count,
        "cpu_ms_per_record": times,
        "median_cpu_ms_per_record": medians,
        "ratio": {
            name: round(medians["wfdb"] / value, 1) for name, value in medians.items() if name != "wfdb"
        },
    }

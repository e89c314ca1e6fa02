"""Peak memory from the files of a database of PTB-XL's size to a training step, beside the plain way."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.speed.large_dataset import write_large_dataset
from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured, peak_rss_mb

_STEPS = 2
RUNS = {  # flags of train.py
    "first_run": ["--model", "mousavi"],
    "crops_run": ["--config", "configs/imle_net_crops.yaml"],
    "later_run": ["--model", "imle_net"],
}


def _now_mb() -> dict[str, float]:
    """Memory in use: private, and pages of mapped files, which the system can reclaim."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        key: round(int(fields[name].split()[0]) * 1024 / 1e6, 1)
        for key, name in (("own_mb", "RssAnon"), ("mapped_files_mb", "RssFile"))
    }


def ours(data_dir: str, words: list[str]) -> dict[str, Any]:
    """Load, fit the standardizer, read one epoch of batches into the framework, and train some steps.

    It calls what `train.py` calls.
    """
    from keras import ops

    import models_tf.backend
    from training.config import TrainConfig, parse_config
    from training.loops.keras_loop import build_model
    from training.setup import load_training_data

    words = ["--data_dir", data_dir, *words]
    config: TrainConfig = parse_config("", models_tf.list_models(), "imle_net", words)
    state: dict[str, Any] = {}

    def load() -> None:
        state["data"] = load_training_data(config)
        state["batches"] = state["data"].batches(config)

    def epoch() -> None:
        for signals, labels in state["batches"].epoch(0):
            ops.convert_to_tensor(signals), ops.convert_to_tensor(labels)

    def steps() -> None:
        network = build_model(config, state["data"])
        for index in range(_STEPS):
            network.train_on_batch(*state["batches"].batch(0, index))

    stages = [{"stage": "import", "cpu_seconds": 0.0, "peak_rss_mb": peak_rss_mb(), **_now_mb()}]
    for name, job in (
        ("load and standardize", load),
        ("one epoch of batches", epoch),
        (f"training steps of {models.title(config.model)}", steps),
    ):
        seconds = round(cpu_seconds(job), 2)
        stages.append({"stage": name, "cpu_seconds": seconds, "peak_rss_mb": peak_rss_mb(), **_now_mb()})
    return {"stages": stages, "records": len(state["data"].train.labels) + len(state["data"].val.labels)}


def plain(data_dir: str, records: int) -> dict[str, Any]:
    """Do what the reference does: wfdb records into one float64 array, then scikit-learn's StandardScaler."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import shuffle

    from databases.ptbxl import read_database
    from databases.wfdb_files import import_wfdb

    wfdb = import_wfdb()
    database = read_database(data_dir).iloc[:records]
    before = peak_rss_mb()
    signals = np.array([wfdb.rdsamp(f"{data_dir}/{name}")[0] for name in database["filename"]])
    folds = database["strat_fold"].to_numpy()
    parts = [signals[folds < 9], signals[folds == 9], signals[folds == 10]]
    scaler = StandardScaler()
    scaler.fit(np.vstack(parts[0]).flatten()[:, np.newaxis])
    scaled = [
        np.array([scaler.transform(x.flatten()[:, np.newaxis]).reshape(x.shape) for x in part])
        for part in parts
    ]
    scaled[0] = shuffle(scaled[0], random_state=42)
    return {"before_mb": before, "records": len(signals), "shape": list(scaled[0].shape)}


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure the first run (which makes the cache), two later runs and the plain way.

    The first run trains the smallest model, the later ones the model with the largest activations: by its
    recipe on crops, and on whole records.
    """
    records, batch = options.pipeline_records, ["--batchsize", str(options.batchsize)]
    with tempfile.TemporaryDirectory(dir=options.work_dir or None, prefix="twelvelead-") as temporary:
        folder = str(write_large_dataset(Path(temporary), records))
        runs = {
            name: measured("pipeline_memory:ours", data_dir=folder, words=[*words, *batch])
            for name, words in RUNS.items()
        }
        count = min(options.plain_records, records)
        reference = measured("pipeline_memory:plain", data_dir=folder, records=count)
    grown = reference["peak_rss_mb"] - reference["before_mb"]
    each = grown / reference["records"]
    return {
        "records": records,
        "batch_size": options.batchsize,
        **runs,
        "plain": reference
        | {
            "mb_per_record": round(each, 4),
            "extrapolated_peak_mb": round(reference["before_mb"] + each * records),
        },
    }

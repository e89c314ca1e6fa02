"""Preprocessors, augmenters, reader and metrics beside torch_ecg, in a second interpreter, and scipy."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.peer_signals import (
    AUGMENTATIONS,
    AUGMENTERS,
    CHAINS,
    METRICS,
    READING,
    answers,
    batch,
    best_seconds,
    record,
    write_records,
)
from benchmarks.speed.worker import ONE_THREAD, measured
from utils.errors import TwelveLeadError, UsageError

_BATCH = 32  # records of a training step, at 100 Hz


def ours(records: str) -> dict[str, Any]:
    """Time our preprocessors, augmenters, reader (of a folder of records) and metrics."""
    import torch

    from databases import open_database
    from preprocessing.transforms import AugmenterManager, PreprocManager
    from utils.classification_scores import classification_scores

    torch.set_num_threads(1)
    signal, (signals, labels) = record(), batch()
    seconds = {}
    for name, chain in CHAINS.items():
        seconds[name] = best_seconds(
            partial(PreprocManager.from_config(chain, channels_first=True), signal, 500)
        )
    tensors = torch.from_numpy(signals), torch.from_numpy(labels)
    for name, names in AUGMENTATIONS.items():
        augment = AugmenterManager.from_config({"fs": 500, **{key: {} for key in names}}, channels_first=True)
        seconds[name] = best_seconds(partial(augment, *tensors))
    database = open_database("cinc2021", records)
    every = list(database.records.index)
    seconds[READING] = best_seconds(lambda: [database.read(one) for one in every]) / len(every)
    expected, probabilities = answers()
    seconds[METRICS] = best_seconds(
        lambda: classification_scores(expected, probabilities >= 0.5, probabilities)
    )
    config = {"fs": 100, **{key: {} for key in (*AUGMENTERS, "cutmix")}}
    small, small_labels = batch(_BATCH, 1000)
    step = partial(
        AugmenterManager.from_config(config), np.ascontiguousarray(small.swapaxes(1, 2)), small_labels
    )
    return {"seconds": seconds, "augment_batch": best_seconds(step)}


def plain() -> dict[str, Any]:
    """Time the plain way: two calls of `scipy.ndimage.median_filter` on two dimensions."""
    from scipy.ndimage import median_filter

    signal = record()

    def remove() -> np.ndarray:
        first = median_filter(signal, size=(1, 101), mode="nearest")
        return signal - median_filter(first, size=(1, 301), mode="nearest")

    from preprocessing.transforms import PreprocManager

    result, _ = PreprocManager.from_config({"baseline_remove": {}}, channels_first=True)(signal, 500)
    difference = float(np.abs(remove() - result).max())
    return {"seconds": {"baseline removal": best_seconds(remove, repetitions=2)}, "difference": difference}


def training_step() -> dict[str, Any]:
    """Time a training step of ECGNet."""
    from benchmarks.speed.model_steps import steps

    return {"seconds": min(steps("ecgnet", False, _BATCH, 2)["train"]) * _BATCH}


def peer(python: str, records: str) -> dict[str, Any]:
    """Time torch_ecg by the interpreter that has it."""
    script = Path(__file__).with_name("peer_signals.py")
    try:
        done = subprocess.run(
            [python, str(script), "torch_ecg", records],
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise UsageError(f"--peer {python} cannot be started: {error.strerror or error}") from error
    if done.returncode:
        raise TwelveLeadError(f"--peer {python}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure in turn, each time in a fresh process on one thread; the best of the rounds counts."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": [], "peer": [], "step": []}
    with tempfile.TemporaryDirectory() as records:
        write_records(Path(records))
        for _ in range(options.rounds):
            runs["ours"].append(measured("signals:ours", records=records))
            if options.peer:
                runs["peer"].append(peer(options.peer, records))
            runs["plain"].append(measured("signals:plain"))
            runs["step"].append(measured("signals:training_step"))

    def best(kind: str) -> dict[str, float]:
        names = runs[kind][0]["seconds"] if runs[kind] else {}
        return {name: min(run["seconds"][name] for run in runs[kind]) for name in names}

    seconds = {kind: best(kind) for kind in ("ours", "plain", "peer")}
    augment = min(run["augment_batch"] for run in runs["ours"])
    step = min(run["seconds"] for run in runs["step"])
    part = round(augment / step, 4)
    return {
        "rounds": options.rounds,
        "peer": f"torch_ecg {runs['peer'][0]['version']}" if runs["peer"] else None,
        "cpu_seconds": seconds,
        "ratio": {
            kind: {name: round(time / seconds["ours"][name], 2) for name, time in seconds[kind].items()}
            for kind in ("plain", "peer")
        },
        "baseline_difference_mv": max(run["difference"] for run in runs["plain"]),
        "training_step": {"augment": augment, "step": step, "part": part, "batch_size": _BATCH},
    }

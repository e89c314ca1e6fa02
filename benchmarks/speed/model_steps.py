"""CPU time and memory of one training step and one inference step of each model, beside the plain way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds, describe, noise_dataset
from benchmarks.speed.options import REFERENCE_STEP, SpeedOptions
from benchmarks.speed.worker import both_ways, measured

KERAS = ("imle_net", "mousavi", "rajpurkar")
_SMALL_BATCH = {"resnet101": 8}  # its 157 million weights need 2.5 GB in Adam as it is


def _dataset(records: int) -> Any:
    """Noise as training takes it."""
    from preprocessing import Standardizer
    from training.setup import TrainingData

    rng = np.random.default_rng(0)
    dataset = noise_dataset((rng.random((records, 5)) < 0.3).astype(np.uint8), rng)
    return TrainingData(dataset, dataset, Standardizer(0.0, 1.0), "")


def _keras_jobs(model: str, plain: bool, batch_size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import keras

    from benchmarks.speed import plain_keras
    from training.config import TrainConfig
    from training.keras_io import keras_forward
    from training.loops.keras_loop import build_model

    clip_norm = 1.0 if model == "rajpurkar" else 0.0
    data = _dataset(batch_size)
    config = TrainConfig(model=model, batchsize=batch_size, clip_norm=clip_norm)
    signals, labels = data.batches(config).batch(0, 0)
    if plain:
        network = getattr(plain_keras, model)()
        optimizer = keras.optimizers.Adam(1e-3, clipnorm=clip_norm or None)
        network.compile(optimizer, keras.losses.BinaryCrossentropy(), jit_compile=False)
    else:
        network = build_model(config, data)
    forward = keras_forward(network)
    return lambda: network.train_on_batch(signals, labels), lambda: forward(signals)


def torch_jobs(model: str, plain: bool, batch_size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Functions that make a training step and an inference step on one thread."""
    import torch
    from torch.nn import functional

    from benchmarks.speed import plain_torch
    from training.config import TrainConfig
    from training.loops.torch_loop import build_model
    from training.loops.torch_optimizer import build_optimizer

    torch.set_num_threads(1)
    data = _dataset(batch_size)
    config = TrainConfig(model=model, batchsize=batch_size, clip_norm=0.0)
    signals, labels = (torch.from_numpy(a) for a in data.batches(config).batch(0, 0))
    plain_class = {"ecgnet": plain_torch.PlainECGNet, "resnet101": plain_torch.PlainResNet101}[model]
    network: torch.nn.Module = plain_class() if plain else build_model(config, data)
    optimizer = build_optimizer(config, network)

    def train() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        functional.binary_cross_entropy_with_logits(network(signals), labels).backward()
        optimizer.step()

    def infer() -> None:
        network.eval()
        with torch.inference_mode():
            network(signals)

    return train, infer


def steps(model: str, plain: bool, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Time the steps of one model in this process, after one warm-up of each."""
    jobs = (_keras_jobs if model in KERAS else torch_jobs)(model, plain, batch_size)
    times: dict[str, Any] = {}
    for name, job in zip(("train", "infer"), jobs, strict=True):
        job()
        times[name] = [round(cpu_seconds(job) / batch_size, 6) for _ in range(repetitions)]
    return times


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure ours and the plain model in turn, each time in a fresh process on one thread.

    The best of all steps counts: other jobs on the machine can only make a step look slower.
    """
    report: dict[str, Any] = {}
    calibration = {k: v for k, v in measured("machine:calibrate").items() if k != "peak_rss_mb"}
    for model in options.models:
        size = min(options.batchsize, _SMALL_BATCH.get(model, options.batchsize))
        sizes = {"batch_size": size, "repetitions": options.repetitions}
        runs = [both_ways("model_steps:steps", model=model, **sizes) for _ in range(options.rounds)]
        entry: dict[str, Any] = {
            **sizes,
            "rounds": options.rounds,
            "reference_train": REFERENCE_STEP[model],
            "calibration_cpu_seconds": calibration,
            "machine": describe(),
        }
        for kind in ("ours", "plain"):
            timings = [run[kind] for run in runs]
            entry[kind] = {
                "peak_rss_mb": min(run["peak_rss_mb"] for run in timings),
                **{job: min(min(run[job]) for run in timings) for job in ("train", "infer")},
                "runs": timings,
            }
        for job in ("train", "infer"):
            entry[f"{job}_ratio"] = round(entry["plain"][job] / entry["ours"][job], 3)
        report[model] = entry
    return {"cpu_seconds_per_record": report}

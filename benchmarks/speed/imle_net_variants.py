"""IMLE-Net's training step on a CPU in several forms: the measurements behind docs/imle_net_speed.md."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured

VARIANTS = {
    "plain": "stock Keras layers",
    "written_out": "batch normalization with its gradient written out",
    "ours": "... and deferred into the next convolution: ours",
    "crops": "ours on crops of 2.5 s",
    "xla": "ours, compiled by XLA (`jit_compile=True`)",
    "without_onednn": "ours, without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`)",
}


def steps(variant: str, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Time training steps on noise in this process, after one warm-up."""
    if variant == "without_onednn":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # before TensorFlow is imported
    import keras

    import models_tf
    from benchmarks.speed import plain_keras
    from models_tf.layers import BatchNormalization

    if variant == "plain":
        network = plain_keras.imle_net()
    elif variant == "written_out":
        network = plain_keras.imle_net(BatchNormalization)
    else:
        network = models_tf.create_model("imle_net", samples=250 if variant == "crops" else 1000)
    network.compile(
        keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(), jit_compile=variant == "xla"
    )
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((batch_size, *network.input_shape[1:]), dtype=np.float32)
    labels = (rng.random((batch_size, 5)) < 0.3).astype(np.float32)

    def train() -> None:
        network.train_on_batch(signals, labels)

    train()
    return {"train": [round(cpu_seconds(train) / batch_size, 6) for _ in range(repetitions)]}


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure all variants in turn, each time in a fresh process on one thread."""
    runs: dict[str, list[dict]] = {variant: [] for variant in VARIANTS}
    sizes = {"batch_size": options.batchsize, "repetitions": options.repetitions}
    for _ in range(options.rounds):
        for variant, timings in runs.items():
            timings.append(measured("imle_net_variants:steps", variant=variant, **sizes))
    best = {variant: min(min(run["train"]) for run in timings) for variant, timings in runs.items()}
    return {
        "batch_size": options.batchsize,
        "variants": {
            variant: {
                "train": best[variant],
                "relative": round(best[variant] / best["plain"], 3),
                "peak_rss_mb": min(run["peak_rss_mb"] for run in timings),
                "runs": timings,
            }
            for variant, timings in runs.items()
        },
    }

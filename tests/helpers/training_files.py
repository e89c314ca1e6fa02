"""Small runs for the tests of training, testing and inference: short records, tiny models."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocessing.batches import Batches
from tests.helpers.ptbxl_files import write_small_ptbxl
from training.card import Card
from training.checkpoint import load_state, write_checkpoint
from utils.ecg import LEADS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 2
SAMPLES = 200
CLASSES = ["CD", "HYP", "MI", "NORM", "STTC"]
OPTIONS = {
    "ecgnet": {"filters": 4, "stem_kernels": [15], "blocks": 2, "lstm_units": 4, "dropout": 0.2},
    "mousavi": {"filters": [2], "lstm_units": 2, "dense_units": 4, "dropout": 0.2},
    "imle_net": {"filters": 2, "lstm_units": 2, "attention_units": 2, "blocks": [1, 1]},
}
# everything that draws random numbers or counts steps
RANDOM = [
    *["--noise", 0.1, "--scale", 0.1, "--shift", 0.2, "--lead_dropout", 0.1, "--mixup", 0.3],
    *["--schedule", "cosine", "--warmup_epochs", 0.5, "--weight_decay", 0.01, "--clip_norm", 1],
]


def small_database(folder: Path, records: int = 100, **options: Any) -> Path:
    """A PTB-XL-shaped database: of 100 records, 80 train, 10 validate and 10 test."""
    return write_small_ptbxl(folder, records, **{"seconds": SECONDS, **options})


def flags(model: str, database: Path, out: Path, *more: Any) -> list[str]:
    """Words of a training command for a small model."""
    words = ["--model", model, "--data_dir", database, "--output_dir", out, "--batchsize", 16, "--threads", 1]
    return [str(word) for word in [*words, "--model_config", json.dumps(OPTIONS[model]), *more]]


def call(main: Callable[[], Any], script: str, *words: Any) -> Any:
    """Call a script's `main` as its command line would."""
    before, sys.argv = sys.argv, [script, *map(str, words)]
    try:
        return main()
    finally:
        sys.argv = before


def interrupt_at(patch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    """Press Ctrl-C while that training batch is being read."""
    read = Batches.batch

    def reading(self, at_epoch, at_batch):
        if self.shuffle and (at_epoch, at_batch) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGINT)
        return read(self, at_epoch, at_batch)

    patch.setattr(Batches, "batch", reading)


def same_arrays(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Equal names, and equal values bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def last_state(out: Path, run: str) -> dict[str, np.ndarray]:
    """Weights, optimizer and random state of a run's last epoch."""
    return load_state(out / "checkpoints" / run)[0]


def metrics_rows(out: Path, run: str) -> list[dict[str, str]]:
    """Rows of metrics.csv without the wall time."""
    with open(out / "logs" / run / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def card_of(model_config: dict[str, Any], framework: str, **changes: Any) -> Card:
    """A card as `training.loops.recorder` writes it."""
    classes = changes.get("classes", CLASSES)
    card = {
        "framework": framework,
        "model": model_config,
        "task": "superdiagnostic",
        "multilabel": True,
        "classes": classes,
        "leads": list(LEADS),
        "unit": "mV",
        "sampling_rate": 100,
        "samples": SAMPLES,
        "crop": 0,
        "standardization": {"mean": 0.01, "std": 0.25},
        "thresholds": [0.5] * len(classes),
        "calibration": {"method": "platt", "slope": [2.0] * len(classes), "intercept": [0.1] * len(classes)},
        **changes,
    }
    return Card.from_json(card)  # of version 1


def write_untrained(folder: Path, model: str, samples: int = SAMPLES, **changes: Any) -> Path:
    """A checkpoint of a small model with the weights it was born with."""
    classes = changes.get("classes", CLASSES)
    crop = changes.get("crop", 0)
    options = {"num_classes": len(classes), "samples": crop or samples, **OPTIONS[model]}
    if model == "ecgnet":
        import torch
        from safetensors.torch import save_file

        import models_torch

        torch.manual_seed(0)
        built = models_torch.create_model(model, **options)
        card = card_of(built.config, "torch", samples=samples, **changes)
        write_checkpoint(folder, card, lambda path: save_file(built.state_dict(), path))
    else:
        import models_tf
        from training.keras_io import save_weights
        from utils.seeds import seed_everything

        seed_everything(0)
        if not changes.get("multilabel", True):
            options["activation"] = "softmax"
        built = models_tf.create_model(model, **options)
        card = card_of(built.config, "keras", samples=samples, **changes)
        write_checkpoint(folder, card, partial(save_weights, built))
    return folder

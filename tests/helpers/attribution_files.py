"""Small windows and models for the tests of the attribution study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from attribution import compute, train
from preprocessing.targets.regions import Beats
from preprocessing.windows import Windows
from tests.helpers.training_files import ROOT, call

SAMPLES = 200
RATE = 25
PATIENTS = "ttttvvxx"
WIDTHS = json.dumps({"widths": [8, 8, 8, 8]})


def bumps(split_of_patient: str = PATIENTS, bump: float = 1.0) -> Windows:
    """Windows of one lead, 12 per patient; a VEB window has a broad wave, whose beat is the ground truth."""
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(len(split_of_patient))], 12)
    splits = np.repeat([{"t": "train", "v": "val", "x": "test"}[s] for s in split_of_patient], 12)
    ectopic = np.arange(len(patients)) % 2
    signals = 0.1 * random.standard_normal((len(patients), SAMPLES, 1)).astype(np.float32)
    signals[:, 40:60] += 0.5
    signals[ectopic == 1, 120:160] -= bump
    return Windows(
        signals=signals + random.normal(0, 5, (len(patients), 1, 1)).astype(np.float32),
        targets=np.stack([1 - ectopic, ectopic], axis=1),
        classes=["N", "VEB"],
        leads=("II",),
        sampling_rate=RATE,
        kind="multiclass",
        name="mitdb",
        ids=patients,
        patients=patients,
        starts=np.arange(len(patients)) * SAMPLES,
        splits=splits,
        normal=["N"],
        settings={"reference": "v" not in split_of_patient},
        beats=_beats(ectopic),
    )


def train_small(folder: Path, *more: Any) -> Path:
    """Train a tiny ResNet-18 on ``folder/mitdb.npz``; give its checkpoint folder."""
    words = ["--dataset_path", folder / "mitdb.npz", "--output_dir", folder, "--epochs", 6, "--batch_size", 8]
    words += ["--threads", 1, "--model_config", WIDTHS, "--learning_rate", 0.003, "--run", "small_seed1"]
    call(train.main, "attribution.train", *words, *more)
    return folder / "checkpoints" / "small_seed1"


def compute_words(folder: Path, *more: Any) -> list[str]:
    """Words of ``attribution.compute`` on what `train_small` left."""
    words = ["--dataset_path", folder / "mitdb.npz", "--model_path", folder / "checkpoints" / "small_seed1"]
    words += ["--prob_threshold", 0.1, "--threads", 1, "--n_samples", 40, "--n_baselines", 3, "--ig_steps", 8]
    return [str(word) for word in [*words, *more]]


def compute_small(folder: Path, *more: Any) -> None:
    """Run ``attribution.compute`` in this process."""
    call(compute.main, "attribution.compute", *compute_words(folder, *more))


def run_module(module: str, *words: Any, **options: Any) -> subprocess.Popen:
    """Start ``python -m module`` as a user would."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", module, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, cwd=ROOT, **{**pipes, **options})


def _beats(ectopic: np.ndarray) -> Beats:
    """A normal beat at 50, and an ectopic one at 140 where there is one."""
    every = np.arange(len(ectopic))
    extra = np.flatnonzero(ectopic)
    return Beats(
        window=np.concatenate([every, extra]),
        sample=np.repeat([50, 140], [len(every), len(extra)]),
        cls=np.repeat([0, 1], [len(every), len(extra)]),
    )

"""A folder of maps as attribution.compute leaves it, with its windows and its small model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from attribution.engine.store import RECORD
from attribution.engine.workspace import SELECTION, weights_fingerprint
from explain.engine.classifier import load_classifier
from models_torch import create_model
from preprocessing.windows import Beats, Regions, Windows, save_windows
from tests.helpers.training_files import card_of
from training.checkpoint import write_checkpoint
from utils.files import write_json, write_npz

SAMPLES, RATE, COUNT = 128, 64, 8


def some_windows(count: int = COUNT, ground_truths: bool = True) -> Windows:
    """Test windows of two beats each, the second one ectopic, with its QRS planted too."""
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((count, SAMPLES, 1)).astype(np.float32)
    rows = np.repeat(np.arange(count), 2)
    beats = Beats(rows, np.tile([30, 90], count), np.tile([0, 1], count))
    each = np.arange(count)
    regions = Regions(each, each * 0 + 1, each * 0 - 1, each * 0 + 85, each * 0 + 95, np.full(count, "QRS"))
    return Windows(
        signals=signals,
        targets=np.tile([0, 1], (count, 1)),
        classes=["N", "VEB"],
        leads=("II",),
        sampling_rate=RATE,
        kind="multiclass",
        name="mitdb",
        ids=[str(100 + i // 3) for i in range(count)],
        patients=[f"p{i // 3}" for i in range(count)],
        starts=each * SAMPLES,
        splits=["test"] * count,
        normal=["N"],
        beats=beats if ground_truths else None,
        regions=regions if ground_truths else None,
    )


def checkpoint(folder: Path, seed: int = 0) -> Path:
    """A small ResNet-18 that was not trained."""
    torch.manual_seed(seed)
    model = create_model("resnet18", num_classes=2, samples=SAMPLES, leads=1, widths=(4, 4, 8, 8)).eval()
    changes = {"samples": SAMPLES, "sampling_rate": RATE, "leads": ["II"], "classes": ["N", "VEB"]}
    changes["standardization"] = {"mean": 0.0, "std": 1.0}
    card = card_of(model.config, "torch", **changes, multilabel=False)
    write_checkpoint(folder, card, lambda path: save_file(model.state_dict(), path))
    return folder


def write_maps(
    folder: Path, methods: dict[str, np.ndarray], windows: Windows | None = None, count: int = COUNT
) -> Path:
    """What attribution.compute leaves, with these maps."""
    windows = windows or some_windows()
    save_windows(windows, folder.parent / "windows.npz")
    model = checkpoint(folder.parent / "checkpoints" / "small_seed3")
    rows = np.arange(count)
    args = {
        "dataset": "mitdb",
        "dataset_path": str(folder.parent / "windows.npz"),
        "fingerprint": windows.fingerprint,
        "model": "small",
        "model_path": str(model),
        "model_fingerprint": weights_fingerprint(load_classifier(model)),
        "seed": 3,
        "reference": False,
        "methods": list(methods),
    }
    write_npz(folder / SELECTION, rows=rows, targets=np.ones(count, int), probability=np.full(count, 0.9))
    write_json(folder / RECORD, args)
    for name, maps in methods.items():
        write_npz(folder / "maps" / f"{name}.npz", maps=maps.astype(np.float32), seconds=np.array(1.0))
    return folder


def noise(seed: int = 1, count: int = COUNT) -> np.ndarray:
    """Maps that know nothing."""
    return np.random.default_rng(seed).standard_normal((count, SAMPLES, 1)).astype(np.float32)

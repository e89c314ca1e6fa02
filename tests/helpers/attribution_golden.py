"""What the attribution study's own code gave (attribution_goldens.npz and .json), and the models it ran on.

The arrays keep the names and shapes of the reference: signals and maps (windows, 1, leads, T), weights under
``w/`` with two-dimensional kernels of height 1. `ours` brings them to (windows, T, leads).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from models_torch import create_model

HERE = Path(__file__).parents[1] / "goldens"


@cache
def arrays() -> dict[str, np.ndarray]:
    """All golden arrays. The noise that was deep_shap's baseline follows from its seed."""
    with np.load(HERE / "attribution_goldens.npz") as file:
        found = dict(file)
    noise = torch.randn(25, 1, 1, 2880, generator=torch.Generator().manual_seed(1000))
    return {**found, "deep_shap_baselines_sample0": noise.numpy()}


@cache
def numbers() -> dict:
    """Metric values, settings and notes."""
    return json.loads((HERE / "attribution_goldens.json").read_text(encoding="utf-8"))


def ours(array: np.ndarray) -> np.ndarray:
    """Reference layout (windows, 1, leads, T) to ours (windows, T, leads)."""
    return np.ascontiguousarray(array[:, 0].transpose(0, 2, 1))


def ground_truth() -> np.ndarray:
    """Ground truth of the explained class, (6, 2880, 1) bool."""
    return np.unpackbits(arrays()["s"], axis=1)[:, :2880, None].astype(bool)


def narrow_model() -> torch.nn.Module:
    """The narrow ResNet-18 that most goldens come from, in evaluation mode."""
    model = create_model("resnet18", num_classes=4, samples=2880, leads=1, widths=(8, 16, 32, 64))
    weights = {k.removeprefix("w/"): torch.from_numpy(v) for k, v in arrays().items() if k.startswith("w/")}
    return _load(model, weights)


def full_model(num_classes: int, samples: int, leads: int, seed: int) -> torch.nn.Module:
    """The full-width ResNet-18 with weights by the reference's recipe, in evaluation mode."""
    model = create_model("resnet18", num_classes=num_classes, samples=samples, leads=leads)
    random = np.random.RandomState(seed)
    weights = {}
    for name, tensor in model.state_dict().items():  # the order of the recipe
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) >= 2:
            value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("weight"):
            value = random.uniform(0.8, 1.2, shape)
        else:  # biases and running means
            value = random.uniform(-0.1, 0.1, shape)
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return _load(model, weights)


def _load(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Weights under the reference's names into our model."""
    own = model.state_dict()
    named = {name.replace("classifier.", "head."): value for name, value in weights.items()}
    named = {name: value.reshape(own[name].shape) for name, value in named.items()}
    missing, unexpected = model.load_state_dict(named, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return model.eval()


def classifier(model, sampling_rate: int = 360, name: str = "golden", **card):
    """Any model of the registries as `attribution` sees it, without a checkpoint; `card` adds to its card."""
    from explain.engine.classifier import Classifier
    from training.card import Card
    from training.predictor import Predictor

    config = model.config
    card = {
        "framework": "keras" if type(model).__module__.startswith("keras") else "torch",
        "model": config,
        "classes": [f"class {i}" for i in range(config["num_classes"])],
        "leads": [f"lead {i}" for i in range(config["leads"])],
        "samples": config["samples"],
        "sampling_rate": sampling_rate,
        "standardization": {"mean": 0.0, "std": 1.0},
        "multilabel": False,
        "task": name,
        "unit": "mV",
        **card,
    }
    return Classifier(Predictor(Path(name), Card.from_json(card), model, forward=np.asarray), name)

"""Small ProtoECGNets with projected prototypes, for the tests of explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import models_torch
from preprocessing import Dataset, fit_standardizer
from tests.helpers.training_files import card_of
from training.checkpoint import write_checkpoint

SIZES = {"samples": 500, "width": 8, "proto_dim": 16, "single_class_prototype_per_class": 2}
BRANCH_CLASSES = {
    "rhythm": ["SR", "AFIB"],
    "morphology": ["NDT", "IMI", "ASMI", "LVH", "LAFB", "ISC_", "CLBBB", "ABQRS", "PVC"],
    "global": ["NORM"],
}


def _project(network: Any, classes: list[str], train: Dataset, signals: torch.Tensor) -> list[dict]:
    """Make each prototype a random window of a training record of its class; describe it as a card does."""
    rng = np.random.default_rng(1)
    length = network.prototype_vectors.shape[2]
    entries = []
    for index, own in enumerate(network.identity):
        names = [classes[c] for c in own.nonzero().flatten().tolist()]
        row = int(rng.choice(np.flatnonzero(train.labels[:, train.classes.index(names[0])])))
        window = int(rng.integers(network.windows))
        with torch.inference_mode():
            column = network.features(signals[[row]])[0, :, window : window + length]
            network.prototype_vectors.data[index] = column
        start, stop = network.window_span(window)
        field = network.window_receptive_field(window)
        entries.append(
            {
                "index": index,
                "classes": names,
                "kind": "single",
                "ecg_id": int(train.ecg_ids[row]),
                "leads": list(train.leads),
                "window": window,
                "start_ms": start * 10.0,
                "end_ms": stop * 10.0,
                "receptive_field_ms": [at * 10.0 for at in field],
                "similarity": 1.0,
                "true_labels": [n for n, yes in zip(train.classes, train.labels[row], strict=True) if yes],
                "branch": network.branch,
            }
        )
    return entries


def write_prototypes(
    folder: Path,
    data: Dataset,
    branch: str = "fusion",
    model: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A checkpoint of one branch or of the fusion with random weights; `changes` go to the card."""
    train = data.split("train")
    standardizer = fit_standardizer(train)
    signals = torch.from_numpy(standardizer(train.signals[:]))
    torch.manual_seed(0)
    networks, entries = {}, []
    for name in BRANCH_CLASSES if branch == "fusion" else [branch]:
        classes = BRANCH_CLASSES[name]
        options = {"branch": name, **SIZES, **(model or {})}
        network = models_torch.create_model("protoecgnet", num_classes=len(classes), **options).eval()
        network.head.weight.data.normal_()
        entries += _project(network, classes, train, signals)
        networks[name] = network
    built = networks.get(branch)
    if built is None:
        classes = list(data.classes)
        configs = [network.config for network in networks.values()]
        built = models_torch.create_model(
            "protoecgnet_fusion", num_classes=len(classes), samples=SIZES["samples"], branches=configs
        ).eval()
        for own, network in zip(built.branch_models, networks.values(), strict=True):
            own.load_state_dict(network.state_dict())
        with torch.inference_mode():
            scores = built.scores(signals)[0]
        built.center.copy_(scores.mean(0))
        built.spread.copy_(scores.std(0).clamp(min=0.01))
        built.head.weight.data.normal_()
    if built.head.bias is not None:
        built.head.bias.data.normal_()
    facts = {
        "task": "all",
        "standardization": standardizer.to_json(),
        "calibration": None,
        "prototypes": [entry | {"index": index} for index, entry in enumerate(entries)],
    }
    card = card_of(built.config, "torch", samples=SIZES["samples"], classes=classes, **(facts | changes))
    write_checkpoint(folder, card, lambda path: save_file(built.state_dict(), path))
    return folder

"""CPU time and memory of ProtoECGNet: a joint step, projection and explanation, beside the plain way.

The plain way is the reference's: image layers with their dead weights, a Python loop over the windows of the
similarity, and a Python loop over records and prototypes in the projection.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds, noise_dataset
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import both_ways, measured
from models_torch.protoecgnet import BRANCHES

# CPU seconds that the reference took on another machine, one core: a joint step, per record (batch 32), and
# the projection of 500 records
REFERENCE_STEP = {"rhythm": 0.010, "morphology": 0.025, "global": 0.012}
REFERENCE_PROJECTION = {"rhythm": 1.39, "morphology": 6.14, "global": 1.77}
CLASSES = {"rhythm": 16, "morphology": 52, "global": 3}
_LABELED = 0.57  # part of PTB-XL's records that have a label of the morphology group
_PROJECTED, _EXPLAINED = 500, 200


def _network(branch: str, plain: bool) -> Any:
    import torch

    import models_torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    classes = CLASSES[branch]
    return models_torch.create_model(
        "protoecgnet", num_classes=classes, branch=branch, reference_layers=plain
    )


def _records(branch: str, count: int) -> Any:
    """Noise with labels as dense as PTB-XL's."""
    rng = np.random.default_rng(0)
    classes = CLASSES[branch]
    labels = np.zeros((count, classes), dtype=np.uint8)
    part = 1.0 if branch == "rhythm" else _LABELED
    for row in np.flatnonzero(rng.random(count) < part):
        labels[row, rng.integers(0, classes, 2)] = 1
    return noise_dataset(labels, rng)


def _windows_one_by_one(features: Any, prototypes: Any) -> Any:
    import torch

    length = prototypes.shape[2]
    unit = prototypes / prototypes.square().sum((1, 2), keepdim=True).add(1e-4).sqrt()
    columns = []
    for start in range(features.shape[2] - length + 1):
        window = features[:, :, start : start + length]
        window = window / window.square().sum((1, 2), keepdim=True).add(1e-4).sqrt()
        columns.append(torch.einsum("bdt,pdt->bp", window, unit))
    return torch.stack(columns, dim=2)


def step(branch: str, plain: bool, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Time joint training steps in this process, after a warm-up."""
    import torch

    from models_torch.protoecgnet.losses import LossWeights, PrototypeLoss, label_cooccurrence

    network = _network(branch, plain)
    if plain:
        network.activations = lambda features: _windows_one_by_one(features, network.prototype_vectors)
    records = _records(branch, batch_size)
    signals, labels = torch.from_numpy(records.signals), torch.from_numpy(records.labels).float()
    weights = LossWeights.reference()
    loss = PrototypeLoss(network.identity, label_cooccurrence(labels), None, weights, reference=plain)
    network.freeze("head")
    network.train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4)

    def job() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits, scores = network(signals, details=True)
        loss(logits, scores, network.prototype_vectors, labels)[0].backward()
        optimizer.step()

    job()
    return {"seconds": [round(cpu_seconds(job) / batch_size, 6) for _ in range(repetitions)]}


def _plain_projection(network: Any, records: Any) -> None:
    """Record by record, prototype by prototype: the best window of a record that has its class."""
    import torch

    best = np.full(len(network.prototype_vectors), -np.inf)
    vectors = torch.zeros_like(network.prototype_vectors)
    classes = network.identity.argmax(1).tolist()
    length = network.prototype_vectors.shape[2]
    for start in range(0, len(records), 32):
        features = network.features(torch.from_numpy(records.signals[start : start + 32]))
        activations = _windows_one_by_one(features, network.prototype_vectors)
        for row in range(len(features)):
            for index, column in enumerate(classes):
                if not records.labels[start + row, column]:
                    continue
                value, window = activations[row, index].max(dim=0)
                if value > best[index]:
                    best[index] = value
                    vectors[index] = features[row, :, window : window + length]


def projection(branch: str, plain: bool, records: int, one_to_one: bool = False) -> dict[str, Any]:
    """Time the projection of all prototypes of a branch."""
    import torch

    from preprocessing import Standardizer
    from training.protoecgnet.projection import project

    network, data = _network(branch, plain).eval(), _records(branch, records)

    def job() -> None:
        with torch.inference_mode():
            if plain:
                _plain_projection(network, data)
            else:
                project(network, data, Standardizer(0.0, 1.0), one_to_one)

    return {"seconds": round(cpu_seconds(job), 3)}


def explanation(records: int) -> dict[str, Any]:
    """Time the explanation of records by a fusion of the paper's size."""
    import torch

    import models_torch
    from explain.prototypes.contributions import explain_records

    branches = [_network(branch, False) for branch in BRANCHES]
    fusion = models_torch.create_model(
        "protoecgnet_fusion", num_classes=71, branches=[network.config for network in branches]
    ).eval()
    torch.nn.init.constant_(fusion.head.bias, -1.0)
    predictor = _predictor(fusion)
    signals = _records("rhythm", records).signals
    return {"seconds": round(cpu_seconds(lambda: explain_records(predictor, signals)) / records, 5)}


def _predictor(fusion: Any) -> Any:
    """A predictor around a network that was not trained, with made-up sources of its prototypes."""
    from pathlib import Path

    from training.card import Card
    from training.predictor import Predictor
    from training.torch_io import torch_forward
    from utils.ecg import LEADS

    classes = [f"class {index}" for index in range(71)]
    offsets = {branch: sum(list(CLASSES.values())[:place]) for place, branch in enumerate(CLASSES)}
    source = {"kind": "single", "ecg_id": 1, "leads": list(LEADS), "window": 0, "start_ms": 0, "end_ms": 1000}
    source |= {"receptive_field_ms": [0, 1000], "similarity": 1.0, "true_labels": []}
    prototypes = [
        {"index": index, "classes": [classes[offsets[branch] + column]], "branch": branch, **source}
        for index, (branch, column) in enumerate(
            (branch, column)
            for branch, network in zip(BRANCHES, fusion.branch_models, strict=True)
            for column in network.identity.argmax(1).tolist()
        )
    ]
    card = {
        "framework": "torch",
        "model": fusion.config,
        "task": "all",
        "unit": "mV",
        "classes": classes,
        "leads": list(LEADS),
        "sampling_rate": 100,
        "samples": 1000,
        "standardization": {"mean": 0.0, "std": 1.0},
        "thresholds": [0.3] * len(classes),
        "prototypes": prototypes,
    }
    return Predictor(Path("untrained"), Card.from_json(card), fusion, torch_forward(fusion, "sigmoid"))


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure ours and the plain way in turn, each time in a fresh process on one thread."""
    module, sizes = "protoecgnet", {"batch_size": options.batchsize, "repetitions": options.repetitions}
    report: dict[str, Any] = {"steps": {}, "projection": {}}
    for branch in BRANCHES:
        entries = both_ways(f"{module}:step", branch=branch, **sizes)
        best = {kind: min(entry["seconds"]) for kind, entry in entries.items()}
        report["steps"][branch] = {
            **entries,
            "ratio": round(best["plain"] / best["ours"], 2),
            "reference": REFERENCE_STEP[branch],
        }
        runs = both_ways(f"{module}:projection", branch=branch, records=_PROJECTED)
        runs["one_to_one"] = measured(
            f"{module}:projection", branch=branch, plain=False, records=_PROJECTED, one_to_one=True
        )
        report["projection"][branch] = {
            **runs,
            "ratio": round(runs["plain"]["seconds"] / runs["ours"]["seconds"], 2),
            "reference": REFERENCE_PROJECTION[branch],
        }
    report["explanation"] = measured(f"{module}:explanation", records=_EXPLAINED)
    return {"records": _PROJECTED, **sizes, **report}

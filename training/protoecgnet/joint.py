"""The stages that train a network: feature_extractor, prototypes and joint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import models_torch
from models_torch.protoecgnet.losses import LossWeights, PrototypeLoss, class_weights, label_cooccurrence
from models_torch.protoecgnet.resnet import ResNet
from training.checkpoint import find_checkpoint, read_card
from training.loops.torch_loop import Job
from training.protoecgnet.config import ProtoConfig, model_options
from training.protoecgnet.networks import (
    records_fingerprint,
    source_of,
    start_from,
    start_from_imagenet,
)
from training.setup import TrainingData

# what a stage leaves as it is; the rest learns
_FROZEN = {"joint": ("head",), "prototypes": ("trunk", "head")}


def positive_weights(config: ProtoConfig, data: TrainingData) -> torch.Tensor:
    """Weight of each class's positives, from the training records, (C,)."""
    if config.class_weights == "none":
        return torch.ones(len(data.train.classes))
    return class_weights(data.train.targets, config.class_weights)


def first_bias(labels: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
    """Bias at which the classifier starts: the log odds of each class under the weighted loss.

    Shapes: labels (N, C), weights (C,) -> (C,).
    """
    positive = torch.as_tensor(labels.sum(axis=0), dtype=torch.float32)
    return torch.log((positive * weights + 0.5) / (len(labels) - positive + 0.5))


def adam(config: ProtoConfig, model: torch.nn.Module) -> torch.optim.Adam:
    """Adam over what is not frozen."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.Adam(trainable, lr=config.lr, weight_decay=config.l2)


def _binary_cross_entropy(pos_weight: torch.Tensor, model, signals, labels):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        model(signals).float(), labels, pos_weight=pos_weight.to(labels.device)
    )
    return loss, {}


def prepare_trunk(config: ProtoConfig, data: TrainingData) -> Job:
    """Prepare the stage feature_extractor: the trunk as a plain classifier."""
    options = {**data.sizes(config), **model_options(config, trunk_only=True)}
    model = models_torch.create_model("protoecgnet_trunk", **options)
    extra = stage_facts(config, data) | _begin_with_imagenet(config, model.trunk)
    loss = partial(_binary_cross_entropy, positive_weights(config, data))
    return Job(model, adam(config, model), loss, extra=extra)


def prepare_prototypes(config: ProtoConfig, data: TrainingData, chain: ProtoConfig) -> Job:
    """Prepare the stages prototypes and joint."""
    stage, branch, classes = config.training_stage, config.branch, data.train.classes
    options = {**data.sizes(config), **model_options(config)}
    model = models_torch.create_model("protoecgnet", **options)
    weights = positive_weights(config, data)
    if options["bias"]:
        with torch.no_grad():
            model.head.bias.copy_(first_bias(data.train.targets, weights))
    if not config.resume:  # a resumed run has its own weights
        if stage == "prototypes":
            start_from(source_of(chain, branch, ("feature_extractor",)), model, branch, classes)
        elif config.init:
            start_from(find_checkpoint(config.init, config.output_dir), model, branch, classes)
    extra = stage_facts(config, data) | (
        _begin_with_imagenet(config, model.trunk) if stage == "joint" else {}
    )
    model.freeze(*_FROZEN[stage])
    lambdas = {name: getattr(config, f"lam_{name}") for name in ("clst", "sep", "spars", "div", "cnrst")}
    loss = PrototypeLoss(
        model.identity,
        label_cooccurrence(data.train.targets),
        weights,
        LossWeights(**lambdas),
        reference=config.loss_definition == "reference",
    )

    def weighted_terms(wrapped, signals, labels):
        logits, scores = wrapped(signals, details=True)
        loss.to(scores.device)
        return loss(logits.float(), scores.float(), model.prototype_vectors, labels)

    return Job(model, adam(config, model), weighted_terms, extra=extra)


def _begin_with_imagenet(config: ProtoConfig, trunk: ResNet) -> dict[str, Any]:
    """Load ImageNet weights where asked; a resumed run has its own, and its card names them."""
    folder = Path(config.output_dir, "checkpoints", config.run)
    if config.imagenet and config.resume and (folder / "card.json").exists():
        return {key: value for key, value in read_card(folder).extra.items() if key == "imagenet"}
    return start_from_imagenet(config.imagenet, trunk) if config.imagenet else {}


def stage_facts(config: ProtoConfig, data: TrainingData) -> dict[str, Any]:
    """Entries of every stage's card."""
    return {"stage": config.training_stage, "records_fingerprint": records_fingerprint(data)}

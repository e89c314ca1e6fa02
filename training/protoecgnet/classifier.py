"""The stages that train a linear layer over frozen prototypes: classifier (of a branch) and fusion.

Everything before the layer is frozen, so the similarities of all records are computed once and the layer
is trained on them: seconds instead of hours, and the same result.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import models_torch
from models_torch.protoecgnet import BRANCHES
from models_torch.protoecgnet.losses import full_l1, off_class_l1
from preprocessing import Dataset, Standardizer
from training.card import Card
from training.checkpoint import read_card
from training.loops.torch_loop import Job
from training.protoecgnet.config import ProtoConfig
from training.protoecgnet.joint import adam, first_bias, positive_weights, stage_facts
from training.protoecgnet.networks import (
    check_options,
    check_records,
    load_network,
    source_of,
)
from training.protoecgnet.pruning import choose, prune
from training.setup import TrainingData
from training.tasks.selection import selection_score
from utils.errors import DataError, UsageError

logger = logging.getLogger(__name__)

_BATCH = 64
_ROUGH_STEPS, _ROUGH_LR = 200, 3e-2


class Classifier(nn.Module):
    """The last layer of a branch or a fusion, on scores (B, P, 1) instead of signals.

    ``network``: its ``head`` is trained; the rest is not part of this module.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.head = network.head
        self.config = network.config
        self._network = [network]  # in a list: its frozen weights stay out of the state of a run

    def forward(self, scores: Tensor) -> Tensor:
        return self._network[0].to(scores.device).logits_of(scores[..., 0])


def score_records(network: nn.Module, records: Dataset, standardizer: Standardizer) -> np.ndarray:
    """Similarities of all prototypes for all records of a split, (N, P)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device)
    rows = []
    starts = tqdm(
        range(0, len(records), _BATCH), desc="similarities", unit="batch", leave=False, disable=None
    )
    with torch.inference_mode():
        for start in starts:
            signals = standardizer(records.signals[start : start + _BATCH])
            rows.append(network.scores(torch.from_numpy(signals).to(device))[0].cpu().numpy())
    network.cpu()
    return np.concatenate(rows)


def probabilities_of(network: nn.Module, scores: np.ndarray) -> np.ndarray:
    """Probabilities of records from their similarities to the prototypes; scores (N, P) -> (N, C)."""
    with torch.inference_mode():
        return torch.sigmoid(network.logits_of(torch.from_numpy(scores))).numpy()


def macro_auc(network: nn.Module, scores: np.ndarray, data: TrainingData) -> float:
    """Macro ROC-AUC of the validation records from their similarities to the prototypes; scores (N, P)."""
    scored = data.task.score(data.val.targets, probabilities_of(network, scores))
    return selection_score(data.task, scored)


def prepare_head(config: ProtoConfig, data: TrainingData, chain: ProtoConfig) -> Job:
    """Prepare the stage classifier: prune, then train the last layer of a branch."""
    folder = source_of(chain, config.branch, ("projection",))
    network, card = load_network(folder, config.branch, data.train.classes)
    check_records(folder, card, data)
    check_options(chain, card)
    if "prototypes" not in card.extra:
        raise UsageError(
            f"the prototypes of {folder} are not yet pieces of training ECGs: run --training_stage projection"
        )
    network.freeze("trunk", "add_on", "prototypes")
    scores = {name: score_records(network, part, data.standardizer) for name, part in data.parts.items()}
    prototypes, report = card.extra["prototypes"], None
    weights = positive_weights(config, data)
    if config.prune:
        network, prototypes, scores, report = _prune(network, prototypes, scores, data, weights, config)
    if network.head.bias is not None:
        with torch.no_grad():  # so that the mean record starts at the odds of its classes
            mean = network.logits_of(torch.from_numpy(scores["train"])).mean(dim=0)
            network.head.bias.add_(first_bias(data.train.targets, weights) - mean)
    extra = {"prototypes": prototypes, "projection": card.extra["projection"], "pruning": report}
    return _job(config, data, network, scores, weights, network.identity, extra, [card])


def _keep_positive(head: nn.Module, own_class: Tensor) -> None:
    """Clamp the weights of prototypes to their own class to at least 0."""
    with torch.no_grad():
        weight = head.weight
        weight.copy_(torch.where(own_class.to(weight.device), weight.clamp(min=0), weight))


def _rough_fit(
    network: nn.Module, scores: np.ndarray, labels: np.ndarray, weights: Tensor, config: ProtoConfig
) -> None:
    """Train the last layer for a few steps on all records at once: its weights show what matters."""
    x, y = torch.from_numpy(scores), torch.from_numpy(labels.astype(np.float32))
    optimizer = torch.optim.Adam(network.head.parameters(), lr=_ROUGH_LR)
    own_class = network.identity.T > 0
    for _ in tqdm(range(_ROUGH_STEPS), desc="rough fit", unit="step", leave=False, disable=None):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network.logits_of(x), y, pos_weight=weights)
        (loss + config.l1 * off_class_l1(network.head.weight, network.identity)).backward()
        optimizer.step()
        if config.positive_own_weights:
            _keep_positive(network.head, own_class)


def _prune(network, prototypes, scores, data, weights, config):
    """Drop prototypes by what a roughly trained layer makes of them, and print what that costs."""
    before = macro_auc(network, scores["val"], data)
    first = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
    _rough_fit(network, scores["train"], data.train.targets, weights, config)
    reasons = choose(network, prototypes, scores["train"], data.train.targets)
    network.head.load_state_dict(first)
    dropped = sorted({index for indices in reasons.values() for index in indices})
    keep = [index for index in range(len(prototypes)) if index not in set(dropped)]
    if dropped:
        config, state, prototypes = prune(network, prototypes, keep)
        network = models_torch.create_model(**config)
        network.load_state_dict(state)
        network.freeze("trunk", "add_on", "prototypes")
        scores = {name: values[:, keep] for name, values in scores.items()}
    after = macro_auc(network, scores["val"], data)
    counts = {reason: len(indices) for reason, indices in reasons.items()}
    report = {"before": len(keep) + len(dropped), "after": len(keep), "dropped": counts}
    report |= {"val_macro_roc_auc_before": round(before, 6), "val_macro_roc_auc_after": round(after, 6)}
    reasons_given = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count) or "none"
    logger.info(
        f"pruned {len(dropped)} of {report['before']} prototypes ({reasons_given}); "
        f"macro ROC-AUC on {data.names[1]} {before:.4f} -> {after:.4f}"
    )
    return network, prototypes, scores, report


def _load_branches(
    config: ProtoConfig, data: TrainingData, chain: ProtoConfig
) -> tuple[list[nn.Module], list[Card]]:
    """Load the network and card of every branch and check that their label sets make up the fusion's."""
    networks, cards = [], []
    for branch in BRANCHES:
        folder = source_of(replace(chain, init=""), branch, ("classifier", "projection"))
        card = read_card(folder)
        check_records(folder, card, data)
        named = {name for entry in card.extra["prototypes"] for name in entry["classes"] if entry["ecg_id"]}
        unknown = sorted(named - set(data.train.classes))
        if unknown:
            raise DataError(
                f"{folder} was trained on task {card.task}, whose class {unknown[0]} is not in task "
                f"{config.task}: fuse branches on the label set that they share, with --task"
            )
        network, card = load_network(folder, branch, None)
        networks.append(network)
        cards.append(card)
    known = Counter(name for card in cards for name in card.classes)
    tasks = ", ".join(f"{card.model['branch']}: {card.task}" for card in cards)
    unknown = [name for name in data.train.classes if name not in known]
    if unknown:
        raise DataError(
            f"no branch knows {', '.join(unknown[:5])}{', ...' if unknown[5:] else ''} of task {config.task} "
            f"({tasks}): train the branches on label sets that make up the fusion's, or give its --task"
        )
    twice = [name for name in data.train.classes if known[name] > 1]
    if twice and any(card.classes != cards[0].classes for card in cards):
        raise DataError(
            f"more than one branch knows {', '.join(twice[:5])}{', ...' if twice[5:] else ''}, though their "
            f"label sets differ ({tasks}): train them with --task on sets without a common class, or all on "
            "the same one"
        )
    return networks, cards


def prepare_fusion(config: ProtoConfig, data: TrainingData, chain: ProtoConfig) -> Job:
    """Prepare the stage fusion: one linear layer over the prototypes of all branches."""
    networks, cards = _load_branches(config, data, chain)
    branches = [network.config for network in networks]
    model = models_torch.create_model("protoecgnet_fusion", **data.sizes(config), branches=branches)
    for branch, network in zip(model.branch_models, networks, strict=True):
        branch.load_state_dict(network.state_dict())
    scores = {name: score_records(model, part, data.standardizer) for name, part in data.parts.items()}
    prototypes = [
        {**entry, "index": index}
        for index, entry in enumerate(entry for card in cards for entry in card.extra["prototypes"])
    ]
    names = {name: column for column, name in enumerate(data.train.classes)}
    identity = torch.zeros(len(prototypes), len(names))
    for entry in prototypes:
        identity[entry["index"], [names[name] for name in entry["classes"] if name in names]] = 1
    rows = {ecg_id: row for row, ecg_id in enumerate(data.train.ids.tolist())}
    for entry in prototypes:  # its branch knew the labels of its own set only
        if entry["ecg_id"] is not None:
            present = data.train.targets[rows[entry["ecg_id"]]] > 0
            entry["all_labels"] = [name for name, label in zip(names, present, strict=True) if label]
    weights = positive_weights(config, data)
    if config.fusion_standardize:
        model.center.copy_(torch.from_numpy(scores["train"].mean(axis=0)))
        model.spread.copy_(torch.from_numpy(scores["train"].std(axis=0)).clamp(min=1e-3))
    if config.fusion_start == "branches":
        with torch.no_grad():
            model.head.weight.zero_()
            model.head.bias.copy_(first_bias(data.train.targets, weights))
        _start_as_branches(model, [card.classes for card in cards], names)
    return _job(config, data, model, scores, weights, identity, {"prototypes": prototypes}, cards)


def _start_as_branches(model: nn.Module, classes: list[list[str]], columns_of: dict[str, int]) -> None:
    """Initialize the fusion with the logits of the branches; their mean where several have a class."""
    branches_of_class = torch.zeros(len(columns_of))
    weight, bias = torch.zeros_like(model.head.weight), torch.zeros_like(model.head.bias)
    first = 0
    for network, branch_classes in zip(model.branch_models, classes, strict=True):
        prototypes = slice(first, first + len(network.prototype_vectors))
        rows = [row for row, name in enumerate(branch_classes) if name in columns_of]
        columns = [columns_of[branch_classes[row]] for row in rows]
        branch_weight = network.head.weight.detach()[rows]
        weight[columns, prototypes] += branch_weight * model.spread[prototypes]
        bias[columns] += branch_weight @ model.center[prototypes]
        if network.head.bias is not None:
            bias[columns] += network.head.bias.detach()[rows]
        branches_of_class[columns] += 1
        first = prototypes.stop
    with torch.no_grad():
        known = branches_of_class > 0
        model.head.weight[known] = (weight / branches_of_class[:, None].clamp(min=1))[known]
        model.head.bias[known] = (bias / branches_of_class.clamp(min=1))[known]


def _job(
    config: ProtoConfig,
    data: TrainingData,
    network: nn.Module,
    scores: dict[str, np.ndarray],
    pos_weight: Tensor,
    identity: Tensor,
    extra: dict[str, Any],
    parents: list[Card],
) -> Job:
    classifier = Classifier(network)
    optimizer = adam(config, classifier)
    own_class = identity.T > 0
    whole = config.fusion_l1 == "all" and config.training_stage == "fusion"

    if config.positive_own_weights:
        optimizer.register_step_post_hook(lambda *_: _keep_positive(classifier.head, own_class))

    def loss(model, signals, labels):
        logits = model(signals).float()
        bce = nn.functional.binary_cross_entropy_with_logits(
            logits, labels, pos_weight=pos_weight.to(labels.device)
        )
        weight = classifier.head.weight
        penalty = full_l1(weight) if whole else off_class_l1(weight, identity.to(labels.device))
        return bce + config.l1 * penalty, {"bce": bce.detach(), "l1": penalty.detach()}

    train, val = (
        replace(part, signals=scores[name][:, :, None], leads=("similarity",))
        for name, part in data.parts.items()
    )
    return Job(
        classifier,
        optimizer,
        loss,
        extra=stage_facts(config, data) | extra,
        made_from=[card.weights_sha256 for card in parents],
        inputs=replace(data, train=train, val=val, standardizer=Standardizer(0.0, 1.0)),
        weights=network.state_dict,
    )

"""Pruning: drop prototypes without a record, without weight or use, and duplicates.

Each criterion is a function that lists the prototypes to drop; `choose` applies them one after the other,
each to what the ones before it left, and `prune` makes the smaller network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models_torch.protoecgnet import ProtoECGNet
from utils.errors import UsageError, nearest

CRITERIA = ("without_record", "low_weight", "duplicate", "unused")
SAME_DIRECTION = 0.999
LOW_WEIGHT = 0.05
USED_AMONG = 5


def without_record(prototypes: Sequence[dict[str, Any]]) -> list[int]:
    """List prototypes that no training record stands behind."""
    return [index for index, entry in enumerate(prototypes) if entry["ecg_id"] is None]


def low_weight(weight: Tensor, identity: Tensor, below: float = LOW_WEIGHT) -> list[int]:
    """List prototypes that hardly count for their own class; weight (C, P), identity (P, C)."""
    own = weight.detach().abs() * (identity.T > 0)
    counts = (own >= below * own.amax(dim=1, keepdim=True)) & (identity.T > 0)
    return (~counts.any(dim=0)).nonzero().flatten().tolist()


def duplicates(vectors: Tensor, prototypes: Sequence[dict[str, Any]]) -> list[int]:
    """List prototypes that an earlier one of the same classes makes superfluous; vectors (P, D, T)."""
    unit = torch.nn.functional.normalize(vectors.detach().flatten(1), dim=1)
    kept: dict[tuple[str, ...], list[int]] = {}
    seen: set[tuple] = set()
    dropped = []
    for index, entry in enumerate(prototypes):
        classes = tuple(sorted(entry["classes"]))
        source = (classes, entry["ecg_id"], entry["window"])
        earlier = kept.setdefault(classes, [])
        again = entry["ecg_id"] is not None and source in seen
        if again or (unit[earlier] @ unit[index] > SAME_DIRECTION).any():
            dropped.append(index)
        else:
            earlier.append(index)
            seen.add(source)
    return dropped


def unused(
    scores: np.ndarray, labels: np.ndarray, identity: Tensor, weight: Tensor, among: int = USED_AMONG
) -> list[int]:
    """List prototypes that never are among the best reasons for a class that a training record has.

    Shapes: scores (N, P), labels (N, C), identity (P, C), weight (C, P).
    """
    own_class = identity.cpu().numpy() > 0
    weights = weight.detach().cpu().numpy()
    used = np.zeros(len(own_class), bool)
    for column in range(own_class.shape[1]):
        added = scores[labels[:, column] > 0] * weights[column]
        if len(added):
            best = np.argpartition(added, -min(among, added.shape[1]), axis=1)[:, -among:]
            positive = np.take_along_axis(added, best, axis=1) > 0
            used[np.intersect1d(best[positive], np.flatnonzero(own_class[:, column]))] = True
    return np.flatnonzero(~used).tolist()


def choose(
    model: ProtoECGNet,
    prototypes: Sequence[dict[str, Any]],
    scores: np.ndarray,
    labels: np.ndarray,
    criteria: Sequence[str] = CRITERIA,
) -> dict[str, list[int]]:
    """Choose prototypes to drop; each class that has a training record keeps at least one.

    Shapes: scores (N, P), labels (N, C).
    """
    identity, weight = model.identity.cpu(), model.head.weight.detach().cpu()
    vectors = model.prototype_vectors.detach().cpu()
    present = torch.from_numpy(np.asarray(labels).any(axis=0))
    rest = np.arange(len(prototypes))
    dropped: dict[str, list[int]] = {}
    for criterion in criteria:
        entries = [prototypes[index] for index in rest.tolist()]
        own, weights = identity[rest], weight[:, rest]
        if criterion == "without_record":
            drop = without_record(entries)
        elif criterion == "low_weight":
            drop = low_weight(weights, own)
        elif criterion == "duplicate":
            drop = duplicates(vectors[rest], entries)
        elif criterion == "unused":
            drop = unused(scores[:, rest], labels, own, weights)
        else:
            raise UsageError(f"unknown criterion of pruning '{criterion}': {nearest(criterion, CRITERIA)}")
        drop = _spare_last(drop, entries, own, weights, present)
        dropped[criterion] = rest[drop].tolist()
        rest = np.delete(rest, drop)
    return dropped


def _spare_last(
    drop: list[int], prototypes: Sequence[dict[str, Any]], identity: Tensor, weight: Tensor, present: Tensor
) -> list[int]:
    """The same without one prototype of each class that would lose all: the one with the largest weight."""
    lost = set(drop)
    for column in present.nonzero().flatten().tolist():
        members = identity[:, column].nonzero().flatten().tolist()
        if members and lost.issuperset(members):
            projected = [index for index in members if prototypes[index]["ecg_id"] is not None]
            lost.remove(max(projected or members, key=lambda index: abs(float(weight[column, index]))))
    return sorted(lost)


def prune(
    model: ProtoECGNet, prototypes: Sequence[dict[str, Any]], keep: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Tensor], list[dict[str, Any]]]:
    """Make the network that has some of the prototypes only.

    A class that keeps none has a logit of its bias and what prototypes of other classes add to it. Where a
    dropped prototype has exactly the vector of a kept one of the same classes, the kept one takes over its
    weights: the two always score alike, so the logits do not change.
    """
    count = len(model.prototype_vectors)
    kept = sorted(keep)
    if not kept or len(set(kept)) < len(kept) or kept[0] < 0 or kept[-1] >= count or len(prototypes) != count:
        raise UsageError(
            f"pruning keeps some of the {count} prototypes, each once: {len(kept)} numbers for a list of "
            f"{len(prototypes)} do not fit"
        )
    classes = [row.nonzero().flatten().tolist() for row in model.identity.cpu()]
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    weight, vectors = state["head.weight"], state["prototype_vectors"]
    heirs = {(tuple(classes[place]), vectors[place].numpy().tobytes()): place for place in reversed(kept)}
    for place in sorted(set(range(count)) - set(kept)):
        heir = heirs.get((tuple(classes[place]), vectors[place].numpy().tobytes()))
        if heir is not None:
            weight[:, heir] += weight[:, place]
    state["head.weight"] = weight[:, kept].contiguous()
    for name in {"prototype_vectors", "ones"} & state.keys():
        state[name] = state[name][kept]
    config = {**model.config, "prototype_classes": [classes[place] for place in kept]}
    return config, state, [{**prototypes[place], "index": index} for index, place in enumerate(kept)]

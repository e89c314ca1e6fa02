"""The losses that a prototype network is trained with.

Scores are the pooled similarities (N, P) of N records and P prototypes, labels (N, C) are 1 where a class is
present, `identity` (P, C) is true where a prototype stands for a class: one class of a single prototype, two
of a joint one. Every term is one that training makes smaller.

The terms come from Chen et al. (2019, arXiv:1806.10574) and Sethi et al. (2025, arXiv:2504.08713). The code
published with the latter counts right prototypes among the wrong ones; `reference=True` gives its terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from utils.errors import DataError, UsageError, nearest

_LARGEST_COSINE = 1 - 1e-6
_RULES = ("records", "reference")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms beside the cross-entropy; a term of weight 0 is not computed.

    ``spars``: sparsity of the scores.
    ``div``: diversity of the prototypes.
    ``cnrst``: contrast between prototypes of classes that occur together and of those that do not.
    """

    clst: float = 0.004
    sep: float = 0.0004
    spars: float = 0.0
    div: float = 250.0
    cnrst: float = 300.0

    @classmethod
    def reference(cls) -> LossWeights:
        """Give the weights that the reference trains with, whatever the defaults are."""
        return cls(clst=0.004, sep=0.0004, spars=0.0, div=250.0, cnrst=300.0)


def _label_matrix(labels: Tensor | np.ndarray) -> Tensor:
    matrix = torch.as_tensor(labels).to("cpu", torch.float64)
    if matrix.ndim != 2 or not len(matrix):
        raise DataError(
            f"labels of shape {tuple(matrix.shape)}: expected (records, classes) with a record or more"
        )
    return matrix


def label_cooccurrence(labels: Tensor | np.ndarray) -> Tensor:
    """Jaccard index of each pair of classes: records with both over records with either.

    Shapes: labels (N, C) -> (C, C).
    """
    labels = _label_matrix(labels)
    both = labels.T @ labels
    counts = labels.sum(dim=0)
    return (both / (counts[:, None] + counts - both).clamp(min=1)).float()


def class_weights(labels: Tensor | np.ndarray, rule: str = "records", limit: float | None = 100.0) -> Tensor:
    """Weight of each class's positives in the cross-entropy; labels (N, C) -> (C,)."""
    if rule not in _RULES:
        raise UsageError(f"unknown rule '{rule}' for class weights: {nearest(rule, _RULES)}")
    if limit is not None and not limit > 0:
        raise UsageError(f"the largest class weight must be above 0, not {limit}")
    labels = _label_matrix(labels)
    counts = labels.sum(dim=0)
    constant = counts == 0
    if rule == "records":
        constant |= counts == len(labels)
        weights = ((len(labels) - counts) / counts.clamp(min=1)).clamp(
            max=torch.inf if limit is None else limit
        )
    else:
        weights = (counts.sum() - counts) / counts.clamp(min=1)
    return weights.masked_fill(constant, 1.0).float()


def _best_of_classes(scores: Tensor, identity: Tensor) -> Tensor:
    """Best score among the prototypes of each class (N, C); -inf for a class without any."""
    prototypes, classes = identity.bool().nonzero(as_tuple=True)  # a joint prototype is in it twice
    best = scores.new_full((len(scores), identity.shape[1]), -torch.inf)
    return best.scatter_reduce(1, classes.expand(len(scores), -1), scores[:, prototypes], "amax")


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the masked-in values; 0, with a gradient of 0, if there are none."""
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def cluster_loss(scores: Tensor, labels: Tensor, identity: Tensor, reference: bool = False) -> Tensor:
    """Pull records towards the nearest prototype of each class that they have.

    Shapes: scores (N, P), labels (N, C), identity (P, C).
    """
    if reference:
        same_class = identity.to(scores.dtype) * labels[:, None, :]
        return -(scores[:, :, None] * same_class).max(dim=1).values.mean()
    best = _best_of_classes(scores, identity)
    return -_mean_over(best, (labels > 0.5) & (best != -torch.inf))


def separation_loss(scores: Tensor, labels: Tensor, identity: Tensor, reference: bool = False) -> Tensor:
    """Push records away from the nearest prototype of each class that they do not have.

    Shapes: scores (N, P), labels (N, C), identity (P, C).
    """
    if reference:
        same_class = identity.to(scores.dtype) * labels[:, None, :]
        return (scores[:, :, None] * (1 - same_class)).max(dim=1).values.mean()
    right = (labels > 0.5).to(scores.dtype) @ identity.to(scores.dtype).T > 0
    best = _best_of_classes(scores.masked_fill(right, -torch.inf), identity)
    return _mean_over(best, best != -torch.inf)


def sparsity_loss(scores: Tensor) -> Tensor:
    """Keep the positive scores of a record few and small; scores (N, P)."""
    return scores.clamp(min=0).sum(dim=1).mean()


def cosine_matrix(prototypes: Tensor) -> Tensor:
    """Cosines of all pairs (P, P); 0 with a prototype of length 0, whose gradient stays finite."""
    flat = prototypes.flatten(start_dim=1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    flat = flat / length.masked_fill(length == 0, 1.0)
    return flat @ flat.T


def diversity_loss(cosines: Tensor) -> Tensor:
    """Make the prototypes orthogonal to each other; cosines (P, P)."""
    return (cosines - torch.eye(len(cosines)).to(cosines)).square().mean()


def pull_of_pairs(identity: Tensor, cooccurrence: Tensor, reference: bool) -> Tensor:
    """How strongly each pair of prototypes (P, P) attracts (above 0) or repels (below 0); the sum is 0."""
    identity = identity.to(cooccurrence.dtype)
    together = identity @ cooccurrence @ identity.T
    if not reference:
        together = together.clamp(max=1)  # the sum over the classes of joint prototypes can be more
    apart = 1 - together
    return together / (together.sum() + 1e-6) - apart / (apart.sum() + 1e-6)


def contrastive_loss(cosines: Tensor, pull: Tensor) -> Tensor:
    """Let prototypes of classes that occur together be alike, and others not; cosines, pull (P, P)."""
    cosines = cosines.clamp(-_LARGEST_COSINE, _LARGEST_COSINE)
    return -(cosines * pull).sum() / len(cosines) ** 0.5


class PrototypeLoss(nn.Module):
    """Everything that the stages ``joint`` and ``prototypes`` make smaller.

    ``identity`` (P, C): true where a prototype stands for a class.
    ``cooccurrence`` (C, C): from `label_cooccurrence`, of the training records.
    ``pos_weight`` (C,): from `class_weights`; by default positives and negatives count alike.
    ``weights``: weights of the terms.
    ``reference``: take the reference's definitions of the terms.
    """

    def __init__(
        self,
        identity: Tensor,
        cooccurrence: Tensor,
        pos_weight: Tensor | None = None,
        weights: LossWeights | None = None,
        reference: bool = False,
    ):
        super().__init__()
        classes = identity.shape[1]
        if cooccurrence.shape != (classes, classes) or (
            pos_weight is not None and len(pos_weight) != classes
        ):
            raise UsageError(
                f"the prototypes stand for {classes} classes, but co-occurrence or class weights for another "
                "number: compute both from the labels that the model is trained on"
            )
        self.weights = weights or LossWeights()
        self.reference = reference
        # Buffers follow the model to its device; none belongs into a checkpoint.
        self.register_buffer("identity", identity.detach().clone(), persistent=False)
        self.register_buffer("pos_weight", pos_weight, persistent=False)
        pull = pull_of_pairs(identity, cooccurrence.to(identity.device), reference)
        self.register_buffer("pull", pull, persistent=False)

    def forward(
        self, logits: Tensor, scores: Tensor, prototypes: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh and add the terms, of logits (N, C), scores (N, P), prototypes (P, ...) and labels (N, C)."""
        terms: dict[str, Tensor] = {}
        if self.weights.clst:
            terms["clst"] = cluster_loss(scores, labels, self.identity, self.reference)
        if self.weights.sep:
            terms["sep"] = separation_loss(scores, labels, self.identity, self.reference)
        if self.weights.spars:
            terms["spars"] = sparsity_loss(scores)
        if self.weights.div or self.weights.cnrst:
            cosines = cosine_matrix(prototypes)  # for both: the costliest part with many prototypes
        if self.weights.div:
            terms["div"] = diversity_loss(cosines)
        if self.weights.cnrst:
            terms["cnrst"] = contrastive_loss(cosines, self.pull)
        bce = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=self.pos_weight)
        total = bce + sum(getattr(self.weights, name) * term for name, term in terms.items())
        return total, {"bce": bce.detach()} | {name: term.detach() for name, term in terms.items()}


def off_class_l1(head_weight: Tensor, identity: Tensor) -> Tensor:
    """Sum of the absolute weights between prototypes and classes that they do not stand for.

    Shapes: head_weight (C, P), identity (P, C).
    """
    return head_weight.abs().masked_fill(identity.bool().T, 0.0).sum()


def full_l1(head_weight: Tensor) -> Tensor:
    """Sum of all absolute weights of the last layer; head_weight (C, P)."""
    return head_weight.abs().sum()

"""What the branches of ProtoECGNet and their fusion have in common: logits that are sums over prototypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Branch:
    """What a branch looks at.

    ``prototypes_per_class``: prototypes of each class in the paper.
    ``columns``: feature columns of a prototype: 0 for all of them, -1 for their average.
    ``task``: label set of its classes.
    ``backbone``: trunk in the paper.
    """

    prototypes_per_class: int
    columns: int
    task: str
    backbone: str


BRANCHES = {
    "rhythm": Branch(5, -1, "proto_rhythm", "resnet1d18"),
    "morphology": Branch(18, 3, "proto_morphology", "resnet18"),
    "global": Branch(7, 0, "proto_global", "resnet18"),
}


def list_prototypes(num_classes: int, single: int, joint: int) -> list[list[int]]:
    """List the classes of each prototype: first `single` of each class, then `joint` of each pair."""
    singles = [[c] for c in range(num_classes) for _ in range(single)]
    pairs = [[a, b] for a in range(num_classes) for b in range(a + 1, num_classes) for _ in range(joint)]
    return singles + pairs


class PrototypeClassifier(nn.Module):
    """Scores of prototypes and a linear layer over them: ``logit = bias + sum of weight x score``.

    A subclass has the linear layer, ``head``, the method ``scores``, which turns signals into scores and best
    windows, (B, P) each, and ``window_samples``, which turns these windows into the samples that they stand
    for, the first one and the one after the last, (B, P, 2).
    """

    head: nn.Linear
    scores: Callable[[Tensor], tuple[Tensor, Tensor]]
    window_samples: Callable[[Tensor], Tensor]

    def standardized(self, scores: Tensor) -> Tensor:
        """Scores as the linear layer takes them; the fusion brings those of its branches to one scale.

        Shapes: scores (B, P) -> (B, P).
        """
        return scores

    def logits_of(self, scores: Tensor) -> Tensor:
        """Logits from scores; scores (B, P) -> (B, num_classes)."""
        return self.head(self.standardized(scores))

    def contributions(self, scores: Tensor) -> Tensor:
        """What each prototype adds to each logit; with the bias they sum to it.

        Shapes: scores (B, P) -> (B, num_classes, P).
        """
        return self.standardized(scores)[:, None, :] * self.head.weight

    def forward(self, signals: Tensor, details: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        scores, _ = self.scores(signals)
        logits = self.logits_of(scores)
        return (logits, scores) if details else logits

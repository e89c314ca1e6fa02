"""A classifier whose logits are sums over prototypes: what a branch and the fusion have in common."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


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

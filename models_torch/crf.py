"""A linear-chain conditional random field: what follows what, learned with the emissions of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utils.errors import UsageError

_IMPOSSIBLE = -1e4  # a log weight that no sum notices, and whose gradient is finite


class CrfHead(nn.Linear):
    """Linear layer with the weights of a chain: of the first class, of the last one, and of each transition.

    A sequence y has the weight exp(first[y_1] + sum of emissions + sum of transitions + last[y_L]).

    Lafferty, McCallum and Pereira, Conditional Random Fields, ICML 2001; Huang, Xu and Yu, Bidirectional
    LSTM-CRF Models for Sequence Tagging, 2015, arXiv:1508.01991.
    """

    def __init__(self, in_features: int, num_classes: int):
        if num_classes < 2:
            raise UsageError("a CRF needs at least two classes: with one there is nothing to decode")
        super().__init__(in_features, num_classes)
        self.first = nn.Parameter(torch.empty(num_classes).uniform_(-0.1, 0.1))
        self.last = nn.Parameter(torch.empty(num_classes).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_classes, num_classes).uniform_(-0.1, 0.1))

    def _forwards(self, emissions: Tensor) -> list[Tensor]:
        """Log weight of all sequences up to each step, by the class they end in: L times (B, C)."""
        alphas = [self.first + emissions[:, 0]]
        for step in range(1, emissions.shape[1]):
            paths = alphas[-1][:, :, None] + self.transitions
            alphas.append(torch.logsumexp(paths, dim=1) + emissions[:, step])
        return alphas

    def log_partition(self, emissions: Tensor) -> Tensor:
        """Log of the summed weight of all sequences: (B, L, C) -> (B,)."""
        return torch.logsumexp(self._forwards(emissions)[-1] + self.last, dim=-1)

    def negative_log_likelihood(self, emissions: Tensor, targets: Tensor) -> Tensor:
        """Mean over the records of -log p(targets), per step that has a target.

        ``targets`` (B, L, C): 1 for the class of a step; a step without any is summed over all classes.
        """
        known = targets.sum(dim=-1, keepdim=True) > 0
        allowed = ~known | (targets > 0.5)
        weight = self.log_partition(emissions.masked_fill(~allowed, _IMPOSSIBLE))
        steps = known.sum(dim=(1, 2)).clamp(min=1)
        return ((self.log_partition(emissions) - weight) / steps).mean()

    def log_marginals(self, emissions: Tensor) -> Tensor:
        """Log probability of each class at each step: (B, L, C) -> (B, L, C)."""
        forwards, steps = self._forwards(emissions), emissions.shape[1]
        backwards = [self.last.expand_as(forwards[-1])]
        for step in range(steps - 1, 0, -1):
            paths = self.transitions + (emissions[:, step] + backwards[0])[:, None, :]
            backwards.insert(0, torch.logsumexp(paths, dim=2))
        weights = torch.stack(forwards, dim=1) + torch.stack(backwards, dim=1)
        return torch.log_softmax(weights, dim=-1)

    def viterbi(self, emissions: Tensor) -> Tensor:
        """Most probable sequence of classes: (B, L, C) -> (B, L).

        Viterbi, Error bounds for convolutional codes, 1967, doi:10.1109/TIT.1967.1054010.
        """
        best, before = self.first + emissions[:, 0], []
        for step in range(1, emissions.shape[1]):
            best, chosen = (best[:, :, None] + self.transitions).max(dim=1)
            best = best + emissions[:, step]
            before.append(chosen)
        path = [(best + self.last).argmax(dim=-1)]
        for chosen in reversed(before):
            path.insert(0, chosen.gather(1, path[0][:, None])[:, 0])
        return torch.stack(path, dim=1)

"""Which window of which record a prototype becomes: the search itself, on features and similarities."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matches:
    """The window that each prototype has found so far.

    ``vectors`` (P, D, T): the vectors to replace; not changed.
    """

    def __init__(self, vectors: Tensor):
        count = len(vectors)
        self.vectors = vectors.detach().clone()
        self.record = torch.full((count,), -1, device=vectors.device)
        self.window = self.record.clone()
        self.similarity = torch.full((count,), -torch.inf, device=vectors.device)

    def add(self, records: Tensor, features: Tensor, similarity: Tensor, window: Tensor) -> None:
        """Keep what is better in a batch of records; of equally good records the first one.

        Shapes: records (B,), features (B, D, columns), similarity (B, P), window (B, P).
        """
        top, row = similarity.max(dim=0)
        better = (top > self.similarity).nonzero().flatten()
        row = row[better]
        self.put(better, records[row], window[row, better], top[better], features, row)

    def put(
        self,
        prototypes: Tensor,
        records: Tensor,
        window: Tensor,
        similarity: Tensor,
        features: Tensor,
        rows: Tensor,
    ) -> None:
        """Set the windows of some prototypes.

        Shapes: prototypes (n,), records, window (n,), similarity (n,), features (B, D, columns), rows
        (n,).
        """
        length = self.vectors.shape[2]
        self.vectors[prototypes] = features.unfold(2, length, 1)[rows, :, window]
        self.record[prototypes] = records
        self.window[prototypes] = window
        self.similarity[prototypes] = similarity


def best_windows(activations: Tensor, admissible: Tensor) -> tuple[Tensor, Tensor]:
    """Find the window of each record that is most similar to each prototype.

    Shapes: activations (B, P, W), admissible (B, P) -> similarity (B, P), window (B, P).
    """
    best, window = activations.max(dim=2)
    return best.masked_fill(~admissible, -torch.inf), window


def assign(similarity: np.ndarray) -> np.ndarray:
    """Assign a row of its own to each prototype: to as many as possible, then as similar as possible.

    Shapes: similarity (N, P) -> (P,).

    Crouse, On implementing 2D rectangular assignment algorithms, IEEE Trans. Aerosp. Electron. Syst. 2016,
    doi:10.1109/TAES.2016.140952.
    """
    admissible = np.isfinite(similarity)
    rows_of = np.full(similarity.shape[1], -1)
    if not admissible.any():
        return rows_of
    values = similarity[admissible]
    # so low that one more admissible pair is worth more than any gain in similarity
    similarity[~admissible] = values.min() - (similarity.shape[1] + 1) * (np.ptp(values) + 1)
    rows, prototypes = linear_sum_assignment(similarity, maximize=True)
    real = admissible[rows, prototypes]
    rows_of[prototypes[real]] = rows[real]
    return rows_of

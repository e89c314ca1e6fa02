"""How much each window of feature columns looks like each prototype."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

EPSILON = 1e-4


def window_cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine between each window of the features and each prototype.

    Shapes: features (B, D, L), prototypes (P, D, T) -> (B, P, L - T + 1).
    """
    columns = prototypes.shape[2]
    unit = prototypes / prototypes.square().sum((1, 2), keepdim=True).add(EPSILON).sqrt()
    energy = features.square().sum(1, keepdim=True)
    energy = functional.avg_pool1d(energy, columns, 1) * columns
    return functional.conv1d(features, unit) / energy.add(EPSILON).sqrt()


def window_distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance between each window of the features and each prototype.

    Shapes: features (B, D, L), prototypes (P, D, T) -> (B, P, L - T + 1).
    """
    columns, kind = prototypes.shape[2], features.dtype
    features, prototypes = features.double(), prototypes.double()  # small differences of large sums
    energy = functional.avg_pool1d(features.square().sum(1, keepdim=True), columns, 1) * columns
    prototype_energy = prototypes.square().sum((1, 2))[:, None]
    square = energy - 2 * functional.conv1d(features, prototypes) + prototype_energy
    return square.clamp(min=1e-12).sqrt().to(kind)

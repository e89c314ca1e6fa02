"""The three branches of ProtoECGNet, and the prototypes that a network has."""

from __future__ import annotations

from dataclasses import dataclass


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

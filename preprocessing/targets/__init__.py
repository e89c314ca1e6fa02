"""Targets: label sets, beats and regions as arrays, and the registry of target sets."""

from preprocessing.targets.registry import (
    CLASS_KINDS,
    TargetOptions,
    Targets,
    TargetSet,
    find_targets,
    list_targets,
    register_targets,
)

__all__ = [
    "CLASS_KINDS",
    "TargetOptions",
    "TargetSet",
    "Targets",
    "find_targets",
    "list_targets",
    "register_targets",
]

"""Targets: label sets, beats and regions as arrays, and the registry of target sets."""

from preprocessing.targets.registry import CLASS_KINDS as CLASS_KINDS
from preprocessing.targets.registry import IGNORED as IGNORED
from preprocessing.targets.registry import TargetOptions, Targets, list_targets, register_targets
from preprocessing.targets.registry import TargetSet as TargetSet
from preprocessing.targets.registry import find_targets as find_targets

__all__ = ["TargetOptions", "Targets", "list_targets", "register_targets"]

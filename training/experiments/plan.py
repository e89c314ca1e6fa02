"""Experiments: one base configuration, and what each run changes of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training.config import TrainOptions
from utils.config import Options, accept_values, fields_of, names_of
from utils.errors import UsageError
from utils.flags import short
from utils.yaml_files import read_yaml

OPTION = "model_config."  # in front of the name of a model's own option
Config = TypeVar("Config", bound=TrainOptions)


@dataclass(frozen=True)
class Variant:
    """One run of an experiment: its name and the settings it changes.

    A setting is a field of the configuration, or ``model_config.`` and an option of the model.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Configuration with changed settings."""
    options = {k.removeprefix(OPTION): v for k, v in changes.items() if k.startswith(OPTION)}
    settings = {k: v for k, v in changes.items() if not k.startswith(OPTION)}
    return dataclasses.replace(config, **settings, model_config={**config.model_config, **options})


def grid(*factors: Sequence[Variant]) -> list[Variant]:
    """Combine every variant of each factor with every one of the others."""
    return [
        Variant(
            "_".join(part.name for part in parts), {k: v for part in parts for k, v in part.changes.items()}
        )
        for parts in itertools.product(*factors)
    ]


def levels(name: str, values: Iterable[Any]) -> list[Variant]:
    """One variant for each value of a setting."""
    return [Variant(f"{name.removeprefix(OPTION)}-{value}", {name: value}) for value in values]


def seeds(count: int, first: int = 0) -> list[Variant]:
    """The same run with several seeds."""
    return [Variant(f"seed{seed}", {"seed": seed}) for seed in range(first, first + count)]


def folds(count: int) -> list[Variant]:
    """All folds of a k-fold cross-validation."""
    return [
        Variant(f"fold{fold}", {"split": "kfold", "folds": count, "fold": fold})
        for fold in range(1, count + 1)
    ]


def fixed_names(kind: type[Options]) -> set[str]:
    """Settings that no variant may change: they belong to the machine or to one start of a run."""
    return names_of(kind, ("run", "machine")) | {"init"} & names_of(kind)


def read_variants(path: str | Path, kind: type[Options], prefix: str = "") -> list[Variant]:
    """Read variants from YAML: a mapping of names to mappings of settings to values."""
    entries = read_yaml(path)
    variants = []
    for name, changes in (entries if isinstance(entries, dict) else {"": entries}).items():
        fixed = fixed_names(kind) & set(changes) if isinstance(changes, dict) else set()
        if not isinstance(changes, dict) or fixed:
            what = (
                f"--{', --'.join(sorted(fixed))} is not a setting of a variant" if fixed else short(changes)
            )
            raise UsageError(f"{path}: each line is 'name: {{option: value}}', not '{name}': {what}")
        where = f"{path}, {name}"
        fields = {key: value for key, value in changes.items() if not str(key).startswith(OPTION)}
        options = {key: value for key, value in changes.items() if str(key).startswith(OPTION)}
        variants.append(Variant(prefix + str(name), accept_values(fields, where, kind) | options))
    return variants


def first_stage(kind: type[Options], changes: Iterable[str], stages: Sequence[str]) -> int:
    """Number of the first training stage that reads any of the changed settings."""
    reads = {f.name: f.metadata["stage"] or stages[0] for f in fields_of(kind)}
    return min((stages.index(reads.get(name, stages[0])) for name in changes), default=0)

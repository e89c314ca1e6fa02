"""Search space of a study: settings of a run and their ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import BaseTrial

from training.config import TrainOptions
from training.experiments.plan import OPTION, changed
from utils.config import fields_of, names_of
from utils.errors import UsageError, nearest
from utils.flags import short
from utils.yaml_files import read_yaml

_KEYS = ("low", "high", "log", "choices")
# Options of many models and their default range, where the configuration has no field of that name.
_OPTION_RANGES: dict[str, dict[str, Any]] = {"dropout": {"low": 0.0, "high": 0.5}}


@dataclass(frozen=True)
class Dimension:
    """One searched setting.

    ``name``: A field of the configuration, or ``model_config.`` and an option of the model.
    ``low, high``: both ends, which belong to the range; two integers search integers.
    ``log``: search on a logarithmic scale.
    ``choices``: the values to choose from, instead of a range.
    """

    name: str
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: BaseTrial) -> Any:
        """Value that a trial suggests."""
        if self.choices:
            return self.value(trial.suggest_categorical(self.name, [_stored(c) for c in self.choices]))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        assert self.low is not None and self.high is not None
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def value(self, stored: Any) -> Any:
        """Value of the setting from what a study has stored."""
        return next((choice for choice in self.choices if _stored(choice) == stored), stored)

    def corners(self) -> tuple[Any, ...]:
        """Values that stand for the whole dimension when it is checked."""
        return self.choices or (self.low, self.high)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} {' | '.join(map(str, self.choices))}"
        return f"{self.name} {self.low:g}..{self.high:g}{' (log)' if self.log else ''}"


def _stored(choice: Any) -> Any:
    """Optuna stores plain values only: a list goes as its JSON text."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def default_space(
    config: TrainOptions,
    options: Mapping[str, Any],
    given: Collection[str] = (),
    names: Sequence[str] | None = None,
) -> list[Dimension]:
    """The built-in space: all settings that declare a range (or those named), except of those given."""
    space = []
    for f in fields_of(config, searchable=True):
        search = f.metadata["search"]
        if search and (names is None or f.name in names) and f.name not in given:
            space.append(Dimension(f.name, **(search(config) if callable(search) else search)))
    return space + [
        Dimension(OPTION + name, **ends)
        for name, ends in _OPTION_RANGES.items()
        if name in options and name not in names_of(config) and name not in config.model_config
    ]


def read_space(path: str | Path, config: TrainOptions, options: Mapping[str, Any]) -> list[Dimension]:
    """Read a space from YAML: setting -> {low, high, log} or {choices}."""
    where = f"--space {path}"
    entries = read_yaml(path, where)
    if not isinstance(entries, dict) or not entries:
        raise UsageError(f"{where} must be a mapping such as 'lr: {{low: 1e-5, high: 1e-2, log: true}}'")
    fixed = {f.name for f in fields_of(config, searchable=False)}
    defaults = type(config)().to_json()
    known = {f.name: defaults[f.name] for f in fields_of(config, searchable=True)}
    known |= {OPTION + key: default for key, default in options.items()}
    space = []
    for name, entry in entries.items():
        if name in fixed:
            hint = f": name an option of the model, {OPTION}NAME" if name == "model_config" else ""
            raise UsageError(f"{where}: '{name}' is the same in all trials and cannot be searched{hint}")
        if name not in known:
            raise UsageError(f"{where}: unknown setting {short(name)}: {nearest(str(name)[:80], known)}")
        space.append(_dimension(f"{where}: {name}", name, entry, known[name]))
    return space


def _dimension(where: str, name: str, entry: Any, default: Any) -> Dimension:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be {{low, high, log}} or {{choices}}, not {short(entry)}")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key '{key}': {nearest(str(key), _KEYS)}")
    if "choices" in entry:
        choices = entry["choices"]
        if len(entry) > 1 or not isinstance(choices, list) or not choices:
            raise UsageError(f"{where}: choices must be a list of values, alone in its entry")
        choices = [_of_kind(f"{where}: choice", choice, default) for choice in choices]
        if any(choice in choices[:i] for i, choice in enumerate(choices)):
            raise UsageError(f"{where}: a value is among the choices twice")
        return Dimension(name, choices=tuple(choices))
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise UsageError(f"{where} is not a number: give {{choices: [...]}}")
    if not {"low", "high"} <= entry.keys():
        raise UsageError(f"{where} needs both low and high, or choices")
    low, high = (_of_kind(f"{where}: {key}", entry[key], default) for key in ("low", "high"))
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise UsageError(f"{where}: log must be true or false, not {short(log)}")
    if not low < high:
        raise UsageError(f"{where}: low ({low}) must be below high ({high})")
    if log and low <= 0:
        raise UsageError(f"{where}: a logarithmic range starts above 0, not at {low}")
    return Dimension(name, low, high, log)


def _of_kind(where: str, value: Any, default: Any) -> Any:
    """The value in the kind that the setting has by default."""
    if isinstance(default, float):
        try:
            number = float(value) if not isinstance(value, bool) else math.nan  # YAML 1.1 reads 1e-3 as text
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    # an option that is None by default tells nothing about its kind
    elif default is None or type(value) is (list if isinstance(default, tuple) else type(default)):
        return value
    kind = {float: "number", tuple: "list"}.get(type(default), type(default).__name__)
    raise UsageError(f"{where} must be of type {kind}, not {short(value)}")


def check_space(
    space: Sequence[Dimension],
    config: TrainOptions,
    models: Sequence[str],
    check: Callable[[Any, Sequence[str]], Any],
) -> None:
    """Refuse a space that holds impossible values before any trial is spent on them."""
    if not space:
        raise UsageError("nothing is left to search: fix fewer flags, or give a --space file")
    for dimension in space:
        for value in dimension.corners():
            try:
                check(changed(config, {dimension.name: value}), models)
            except UsageError as error:
                raise UsageError(f"the space has {dimension.name} = {value!r}, but {error}") from error

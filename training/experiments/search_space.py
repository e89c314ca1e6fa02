"""What a study searches: which settings of a run, and between which values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import BaseTrial

from training.config import TrainConfig
from utils.errors import UsageError, nearest

OPTION = "model_config."  # in front of the name of a model's own option
_KEYS = ("low", "high", "log", "choices")

# Searching these would compare trials that do not answer the same question, or that cannot be told apart.
_NEVER_SEARCHED = {
    *("model", "data_dir", "task", "sub", "min_likelihood", "limit", "partial", "epochs", "seed", "run"),
    *("init", "resume", "overwrite", "loggr", "threads", "devices", "output_dir", "model_config"),
    *("branch", "training_stage", "classifier_epochs"),
}


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
        """Let a trial choose a value."""
        if self.choices:
            return self.value(trial.suggest_categorical(self.name, [_stored(c) for c in self.choices]))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def value(self, stored: Any) -> Any:
        """Turn what a study has stored back into the value of the setting."""
        return next((choice for choice in self.choices if _stored(choice) == stored), stored)

    def corners(self) -> tuple[Any, ...]:
        """Give the values that show whether the whole dimension is possible."""
        return self.choices or (self.low, self.high)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} {' | '.join(map(str, self.choices))}"
        return f"{self.name} {self.low:g}..{self.high:g}{' (log)' if self.log else ''}"


def _stored(choice: Any) -> Any:
    """Optuna stores plain values only: a list goes as its JSON text."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def default_space(
    config: TrainConfig, options: Mapping[str, Any], given: Sequence[str] = ()
) -> list[Dimension]:
    """The built-in space: ProtoECGNet's published one, where its settings exist, and augmentation."""
    names = {f.name: f for f in dataclasses.fields(config)}
    rate, stage = config.sampling_rate, getattr(config, "training_stage", "")
    space = [
        Dimension("lr", 1e-6, 1e-2, log=True),
        Dimension("schedule", choices=tuple(names["schedule"].metadata["choices"])),
        Dimension("batchsize", choices=(16, 32, 64)),
        Dimension("l2", 1e-6, 1e-2, log=True),
        Dimension("dropout", 0.0, 0.5),
        Dimension("single_class_prototype_per_class", 1, 20),
        Dimension("scale", 0.0, 0.3),
        Dimension("noise", 0.0, 0.1),
    ]
    if stage == "classifier":  # everything before the last layer is frozen
        space = [
            Dimension("classifier_lr", 1e-6, 1e-2, log=True),
            Dimension("batchsize", choices=(16, 32, 64)),
            Dimension("l2", 1e-6, 1e-2, log=True),
            Dimension("l1", 1e-6, 1e-2, log=True),
        ]
    if stage == "feature_extractor":  # which has no prototypes yet
        space = [d for d in space if d.name != "single_class_prototype_per_class"]
    if "l2" not in names:  # the same thing in another form
        space.append(Dimension("weight_decay", 1e-5, 1e-1, log=True))
    if config.model != "protoecgnet":  # its losses need whole records and labels that are 0 or 1
        space += [
            Dimension("crop", choices=(0, 5 * rate // 2, 5 * rate)),
            Dimension("mixup", 0.0, 0.4),
            Dimension("label_smoothing", 0.0, 0.1),
        ]
    # a setting may be a field of the run or an option of the model
    space = [
        d if d.name in names else dataclasses.replace(d, name=OPTION + d.name)
        for d in space
        if d.name in names or d.name in options
    ]
    return [
        d for d in space if d.name not in given and d.name.removeprefix(OPTION) not in config.model_config
    ]


def read_space(path: str | Path, config: TrainConfig, options: Mapping[str, Any]) -> list[Dimension]:
    """Read a space from YAML: setting -> {low, high, log} or {choices}."""
    where = f"--space {path}"
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(entries, dict) or not entries:
        raise UsageError(f"{where} must be a mapping such as 'lr: {{low: 1e-5, high: 1e-2, log: true}}'")
    fields = {k: v for k, v in type(config)().to_json().items() if k not in _NEVER_SEARCHED}
    known = fields | {OPTION + key: default for key, default in options.items()}
    space = []
    for name, entry in entries.items():
        if name in _NEVER_SEARCHED:
            hint = f": name an option of the model, {OPTION}NAME" if name == "model_config" else ""
            raise UsageError(f"{where}: '{name}' is the same in all trials and cannot be searched{hint}")
        if name not in known:
            raise UsageError(f"{where}: unknown setting '{name}': {nearest(str(name), known)}")
        space.append(_dimension(f"{where}: {name}", name, entry, known[name]))
    return space


def _dimension(where: str, name: str, entry: Any, default: Any) -> Dimension:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be {{low, high, log}} or {{choices}}, not {entry!r}")
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
        raise UsageError(f"{where} is no number: give {{choices: [...]}}")
    if not {"low", "high"} <= entry.keys():
        raise UsageError(f"{where} needs both low and high, or choices")
    low, high = (_of_kind(f"{where}: {key}", entry[key], default) for key in ("low", "high"))
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise UsageError(f"{where}: log must be true or false, not {log!r}")
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
    raise UsageError(f"{where} must be of type {kind}, not {value!r}")


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Put the values of a trial into a configuration."""
    options = {k.removeprefix(OPTION): v for k, v in values.items() if k.startswith(OPTION)}
    fields = {k: v for k, v in values.items() if not k.startswith(OPTION)}
    return dataclasses.replace(config, **fields, model_config={**config.model_config, **options})


def check_space(
    space: Sequence[Dimension],
    config: TrainConfig,
    models: Sequence[str],
    check: Callable[[Any, Sequence[str]], Any],
) -> None:
    """Refuse a space that holds impossible values before any trial is spent on them."""
    if not space:
        raise UsageError("nothing is left to search: fix fewer flags, or give a --space file")
    for dimension in space:
        for value in dimension.corners():
            try:
                check(with_values(config, {dimension.name: value}), models)
            except UsageError as error:
                raise UsageError(f"the space has {dimension.name} = {value!r}, but {error}") from error

"""Grid files: a base configuration and axes in YAML, expanded to the runs of an experiment."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.experiments.plan import OPTION, Variant, changed, fixed_names, folds
from training.experiments.published import translate_fields
from training.families import Family, family_of
from training.model_info import model_names, our_model
from utils import plugins
from utils.config import accept_values, names_of, present_names
from utils.errors import UsageError, nearest
from utils.files import slug
from utils.flags import short
from utils.yaml_files import read_mapping

REPEATS = ("seed", "fold")  # settings over which means are taken
_LONGEST_NAME = 120


@dataclass(frozen=True)
class GridRun:
    """One run of a grid.

    ``changes``: what it changes of the base.
    ``config``: its whole configuration, checked.
    """

    name: str
    changes: dict[str, Any]
    config: TrainConfig
    family: Family = field(compare=False)


@dataclass(frozen=True)
class Grid:
    """All runs of a grid file, in its order.

    ``axes``: settings in which runs differ.
    ``notes``: what was made of keys of published files.
    """

    name: str
    path: Path
    runs: list[GridRun]
    axes: list[str]
    notes: list[str]


def read_grid(path: str | Path, name: str = "", also: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid file.

    ``name``: of the grid, instead of that in the file, which is by default the file's own.
    ``also``: settings that replace those of the file.

    Raises
    ------
    UsageError
        Unknown settings, settings without effect, values that cannot be, two runs with the same settings.
    """
    path, where = Path(path), str(path)
    values = read_mapping(path, example="model: ecgresnet; lr: [1e-3, 1e-2]; seed: [1, 2, 3]")
    plugins.require(values.pop("plugins", []), where)
    name = name or str(values.pop("name", path.stem))
    values.pop("name", None)
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--name '{name}' must be a plain folder name")
    entries = _named_runs(values.pop("runs", {"": {}}), where)
    kinds = _kinds([values, *entries.values(), also or {}], where)
    base, notes = _translate(values, where, kinds)
    model = (also or {}).get("model", base.get("model", ""))
    base = _replaced(base, _translate(also or {}, "--set", kinds, model)[0], where)
    runs: list[GridRun] = []
    axes: dict[str, None] = {}
    for entry, changes in entries.items():
        changes, more = _translate(changes, f"{where}, {entry}", kinds, model)
        notes += [note for note in more if note not in notes]
        expanded, varied = _expand(base, changes, entry, where)
        axes |= dict.fromkeys(varied)
        runs += expanded
    _refuse_duplicates(runs, where)
    return Grid(name, path, runs, list(axes), notes)


def _translate(
    values: Mapping[Any, Any], where: str, kinds: Iterable[type[TrainConfig]], model: Any = ""
) -> tuple[dict[str, Any], list[str]]:
    """Settings under their present names, and notes on keys of published files that mean nothing here."""
    settings, notes = translate_fields(values, where, model)
    if "n_folds" in values:  # all folds are an axis here, and the official split takes them back
        settings = {key: value for key, value in settings.items() if key not in ("split", "fold")}
        settings.setdefault("folds", None)
    present = {old: new for kind in kinds for old, new in present_names(kind).items()}
    for key in [key for key in settings if present.get(key, key) != key]:
        if present[key] in settings:
            raise UsageError(f"{where}: {key} is {present[key]}, which is given twice")
        settings[present[key]] = settings.pop(key)
    return settings, notes


def _named_runs(entries: Any, where: str) -> dict[str, dict[str, Any]]:
    wrong = not isinstance(entries, dict) or not entries
    if wrong or not all(isinstance(changes, dict) for changes in entries.values()):
        raise UsageError(f"{where}: runs must be a mapping 'name: {{setting: value}}', not {short(entries)}")
    return {str(name): changes for name, changes in entries.items()}


def _kinds(parts: Iterable[Mapping[str, Any]], where: str) -> list[type[TrainConfig]]:
    """Configuration classes of all models that are named."""
    named = [part["model"] for part in parts if "model" in part]
    models = [model for value in named for model in (value if isinstance(value, list) else [value])]
    found = dict.fromkeys(_family(our_model(str(model)), where).config_class for model in models)
    return list(found) or [TrainConfig]


def _replaced(base: dict[str, Any], also: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The base with settings of the command line; an axis of the file is not silently flattened."""
    for key in also:
        if isinstance(base.get(key), list) and not isinstance(also[key], list):
            raise UsageError(f"--set {key}: {where} has the axis {key}: {short(base[key])}; give a list too")
    return base | dict(also)


def _expand(
    base: dict[str, Any], changes: dict[str, Any], entry: str, where: str
) -> tuple[list[GridRun], list[str]]:
    """Runs of one entry: every combination of the values of its axes, and the names of the axes."""
    where = f"{where}, {entry}" if entry else where
    settings = {key: value for key, value in (base | changes).items() if (key, value) != ("folds", None)}
    if "model" not in settings:
        raise UsageError(f"{where}: model is missing: {nearest('', model_names())}")
    listed = settings["model"] if isinstance(settings["model"], list) else [settings["model"]]
    families = [_family(str(model), where) for model in listed]
    lists = _list_valued(zip(map(str, listed), families, strict=True))
    for key, value in settings.items():
        if isinstance(value, list) and not value and key not in lists:
            raise UsageError(f"{where}: {key} has no value: give at least one, or leave {key} out")
    factors: dict[str, list[dict[str, Any]]] = {}
    scalars: dict[str, Any] = {}
    for key, value in _with_folds(settings, where).items():
        options = _values_of(key, value, key in lists, where)
        if options is None:
            scalars[key] = value
        else:
            factors[key] = options
    for key in (*factors, *changes):
        _refuse_fixed(key, families, where)
    for key in changes.keys() & {k for k, v in base.items() if isinstance(v, list) and k not in lists}:
        raise UsageError(f"{where}: {key} is an axis of all runs already: leave it out of one of the two")
    runs: list[GridRun] = []
    for parts in itertools.product(*factors.values()):
        varied = {key: value for part in parts for key, value in part.items()}
        chosen = scalars | varied
        family = _family(str(chosen["model"]), where)
        own = {key: value for key, value in (changes | varied).items() if key in chosen}
        run = slug("_".join(filter(None, [entry, *_labels(varied)])) or str(chosen["model"]))
        run = run if len(run) <= _LONGEST_NAME else f"{run[:_LONGEST_NAME]}_{len(runs) + 1}"
        config = _configure(chosen, family, run, f"{where}, run {run}")
        _refuse_unused(own, family, config, f"{where}, run {run}")
        runs.append(GridRun(run, _settled(own, config), config, family))
    varied_names = list(dict.fromkeys(key for run in runs for key in run.changes))
    return runs, varied_names


def _family(model: str, where: str) -> Family:
    if model not in model_names():
        raise UsageError(f"{where}: unknown model '{model}': {nearest(model, model_names())}")
    return family_of(model)


def _list_valued(models: Iterable[tuple[str, Family]]) -> set[str]:
    """Settings whose value is a list itself."""
    found = set()
    for model, family in models:
        defaults = family.config_class().to_json()
        options = {OPTION + name: value for name, value in family.options(model).items()}
        found |= {key for key, value in (defaults | options).items() if isinstance(value, list | tuple)}
    return found


def _values_of(key: str, value: Any, list_valued: bool, where: str) -> list[dict[str, Any]] | None:
    """Settings that each value of an axis stands for; None for a setting that is not one."""
    if key == "folds" and isinstance(value, list):  # made by `_with_folds`
        return [variant.changes for variant in value]
    if not isinstance(value, list):
        return None
    inner = [isinstance(item, list) for item in value]
    if list_valued and not any(inner):
        return None
    if list_valued and not all(inner):
        raise UsageError(f"{where}: {key} mixes lists and single values: {short(value)}")
    return [{key: item} for item in value]


def _with_folds(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """``folds: 5`` alone is an axis: every fold of a k-fold cross-validation."""
    split, count = settings.get("split"), settings.get("folds")
    if isinstance(split, list) or isinstance(count, list):
        raise UsageError(f"{where}: one split and one number of folds for all runs of a grid")
    if split == "official" and {"folds", "fold"} & settings.keys():
        raise UsageError(f"{where}: split: official has no folds: leave out folds and fold, or split")
    if split != "kfold" and not {"folds", "fold"} & settings.keys():
        return settings
    if "fold" in settings:
        return settings | {"split": "kfold"}
    count = TrainConfig.folds if count is None else count
    if not isinstance(count, int) or isinstance(count, bool):
        raise UsageError(f"{where}: folds must be a number, not {short(count)}")
    rest: list[Variant] = folds(max(count, 0)) or [Variant("", {"split": "kfold", "folds": count})]
    made: dict[str, Any] = {k: rest if k == "folds" else v for k, v in settings.items() if k != "split"}
    return made if "folds" in made else made | {"folds": rest}


def _refuse_fixed(key: str, families: Sequence[Family], where: str) -> None:
    """Refuse to vary what belongs to the machine or to one start of a run."""
    fixed = {name for family in families for name in fixed_names(family.config_class)}
    if key in fixed:
        raise UsageError(f"{where}: {key} names a run or belongs to the machine: runs cannot differ in it")


def _labels(varied: Mapping[str, Any]) -> list[str]:
    """What the settings of a run add to its name."""
    hidden = {"split", "folds"} if "fold" in varied else set()
    labels = []
    for key, value in varied.items():
        text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, dict):
            text = "-".join(f"{name}{item}" for name, item in value.items()) or "default"
        if key not in hidden:
            labels.append(text if key == "model" else f"{key.removeprefix(OPTION)}-{text}")
    return labels


def _configure(chosen: dict[str, Any], family: Family, run: str, where: str) -> TrainConfig:
    """Checked configuration of a run."""
    kind, model = family.config_class, str(chosen["model"])
    own = {key: value for key, value in chosen.items() if str(key).startswith(OPTION)}
    values = accept_values({key: value for key, value in chosen.items() if key not in own}, where, kind)
    known = family.options(model)
    named = {OPTION + name for name in values.get("model_config", {})} | own.keys()
    for option in (name.removeprefix(OPTION) for name in named):
        if option not in known:
            raise UsageError(f"{where}: {model} has no option '{option}': {nearest(option, known)}")
    started = {"run", "resume", "overwrite", "output_dir"} & values.keys()
    if started:
        raise UsageError(f"{where}: {', '.join(sorted(started))} is for single runs: leave it out")
    config = kind(**{**(family.defaults or {}), **values})
    try:
        config = changed(dataclasses.replace(config, run=run), own)
        return family.check_trial(config, model_names())
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _refuse_unused(own: Mapping[str, Any], family: Family, config: TrainConfig, where: str) -> None:
    """Refuse to vary a setting that the run does not read."""
    for key, why in family.unused(config).items():
        if key in own:
            raise UsageError(f"{where}: {key} has no effect {why}: give such runs under runs:, without {key}")


def _settled(own: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """The changes with the values as the configuration has them."""
    settings = config.to_json()
    options = settings["model_config"]
    return {
        key: options[key.removeprefix(OPTION)] if key.startswith(OPTION) else settings[key] for key in own
    }


def _refuse_duplicates(runs: Sequence[GridRun], where: str) -> None:
    """Refuse two runs that would give the same result, or go by the same name."""
    seen: dict[str, str] = {}
    names: set[str] = set()
    for run in runs:
        own = names_of(run.config, ("result", "stop"))
        key = json.dumps({k: v for k, v in run.config.to_json().items() if k in own}, sort_keys=True)
        if key in seen:
            raise UsageError(f"{where}: the runs '{seen[key]}' and '{run.name}' have the same settings")
        if run.name in names:
            raise UsageError(f"{where}: two runs have the name '{run.name}': shorten their settings")
        seen[key] = run.name
        names.add(run.name)

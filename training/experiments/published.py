"""Names of the published ECG-CNN study under ours: flags of its commands and keys of its YAML files."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocessing.splits import LEAST_FOLDS
from training.config import chosen_model
from training.experiments.plan import OPTION
from training.model_info import our_model
from utils.config import fields_of
from utils.errors import UsageError
from utils.flags import first_words, json_object, short, true_or_false
from utils.yaml_files import read_mapping

logger = logging.getLogger(__name__)

_RENAMED = {"n_epochs": "epochs", "batch_size": "batchsize", "sample_frac": "subsample_frac"}
_OPTIONS = {  # of the three models of the study
    "ecgconvnet": {"kernel_sizes": "kernels", "conv_dropout": "feature_dropout", "fc_dropout": "dropout"},
    "ecginceptionnet": {"kernel_sizes": "kernels", "fc_dropout": "dropout"},
    "ecgresnet": {},
}
_OF_MODELS = ("kernel_sizes", "conv_dropout", "fc_dropout")
_KEEP = {True: "best", False: "last"}  # save_best
_ABSENT = ("data_dir", "sample_dir")  # null stands for the usual folder
_NOTED = {
    "plots_enable_ovr": "twelvelead evaluate writes the tables of each class",
    "plots_ovr_classes": "twelvelead evaluate --ovr_classes names the classes",
    "tag": "a run has the name that --run gives it",
    "config": "a file does not need to name itself",
}


def translate_fields(
    values: Mapping[Any, Any], where: str = "", model: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Settings of the published study under our names, and notes on what has no effect here.

    Keys that the study does not have stay as they are. Options of a model become ``model_config.OPTION``, as
    in `training.experiments.plan`; ``n_folds: 5`` becomes ``split: kfold``, ``folds: 5`` and ``fold: 0``, all
    folds.

    ``model``: where the values name none.

    Raises
    ------
    UsageError
        A value that nothing here does: two folds, or an option that the model does not have.
    """
    prefix = f"{where}: " if where else ""
    named = values.get("model", model)
    models = [our_model(str(name)) for name in (named if isinstance(named, list) else [named])]
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in values.items():
        if key in _OF_MODELS:
            made = {OPTION + _option_of(key, models, prefix): value}
        elif key == "model":
            made = {key: models if isinstance(named, list) else models[0]}
        elif key == "n_folds":
            made = _folds(value, prefix, notes)
        elif key == "save_best":
            made = {"keep": [_KEEP[item] for item in value] if isinstance(value, list) else _KEEP[value]}
        elif key == "verbose" or key in _NOTED:
            made = {}
            notes += _note(key, value)
        elif key in _ABSENT and value is None:
            made = {}
        else:
            made = {_RENAMED.get(key, key) if isinstance(key, str) else key: value}
        for name in made.keys() & settings.keys():
            raise UsageError(f"{prefix}{key} is {name} here, which is given twice")
        settings |= made
    return settings, notes


def _option_of(key: str, models: Sequence[str], prefix: str) -> str:
    """Option of the models that a published name stands for."""
    found = {_OPTIONS.get(model, {}).get(key) for model in models}
    lacking = [model for model in models if key not in _OPTIONS.get(model, {})]
    if lacking:
        has = ", ".join(name for name, options in _OPTIONS.items() if key in options)
        which = " and ".join(filter(None, lacking)) or "this model"
        raise UsageError(
            f"{prefix}{key} has no effect on {which}: it belongs to {has}; --model_config sets the options "
            "of every model"
        )
    return str(found.pop())


def _folds(count: Any, prefix: str, notes: list[str]) -> dict[str, Any]:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"{prefix}n_folds must be a whole number of folds, not {short(count)}")
    if count == 1:
        notes.append("note: n_folds 1 trains on the official split, which has validation records of its own")
        return {}
    if count < LEAST_FOLDS:
        raise UsageError(
            f"{prefix}n_folds must be 1 (the official split) or at least {LEAST_FOLDS}, not {count}: one "
            "fold is scored, another one chooses the epoch, the others are learned from"
        )
    return {"split": "kfold", "folds": count, "fold": 0}


def _note(key: str, value: Any) -> list[str]:
    if key == "verbose":
        return [] if value else ["note: verbose False has no meaning here: every epoch is printed"]
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        raise UsageError(f"{key} does not change a run: {_NOTED[key]}")
    empty = not value or value == ["__placeholder__"]
    return [] if empty else [f"note: {key} has no meaning here: {_NOTED[key]}"]


def translate_words(args: Sequence[str]) -> list[str]:
    """Words of a training command with the flags of the published study replaced by ours."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    switch: dict[str, Any] = {"nargs": "?", "const": True, "type": true_or_false}
    flags: dict[str, dict[str, Any]] = {
        "n_folds": {"type": int},
        "save_best": switch,
        "verbose": switch,
        "kernel_sizes": {"type": int, "nargs": "+"},
        "conv_dropout": {"type": float},
        "fc_dropout": {"type": float},
    }
    for name, how in flags.items():
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", dest=name, **how)
    given, rest = parser.parse_known_args(list(args))
    values = {name: value for name, value in vars(given).items() if value is not None}
    if not values:
        return rest
    settings, notes = translate_fields(values, model=chosen_model(rest))
    _say(notes)
    options = {key.removeprefix(OPTION): settings.pop(key) for key in list(settings) if OPTION in key}
    if options:
        settings["model_config"] = json.dumps({**_model_config(rest), **options})
    return [*rest, *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]


def _model_config(words: Sequence[str]) -> dict[str, Any]:
    """Options of the model that a command line, or else its file, gives."""
    given = first_words(words, "model_config", "config")
    if given["model_config"]:
        try:
            return json_object(given["model_config"])
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--model_config: {error}") from error
    values = translate_file(read_mapping(given["config"]), given["config"]) if given["config"] else {}
    return dict(values.get("model_config", {}))


def translate_file(values: Mapping[Any, Any], path: str | Path, kind: Any = None) -> dict[str, Any]:
    """Keys of a configuration file for one training run; ``kind``: the options of the command."""
    where = f"--config {path}"
    if kind is not None:
        _refuse_grid(values, where, path, kind)
    settings, notes = translate_fields(values, where)
    if kind is not None:
        _say(notes)
    options = {key: settings.pop(key) for key in list(settings) if str(key).startswith(OPTION)}
    if options:
        own = {key.removeprefix(OPTION): value for key, value in options.items()}
        settings["model_config"] = {**settings.get("model_config", {}), **own}
    return settings


def _refuse_grid(values: Mapping[Any, Any], where: str, path: str | Path, kind: Any) -> None:
    """A file with several values of a setting describes several runs."""
    single = {f.name for f in fields_of(kind) if "list" not in str(f.type)} | {"n_epochs", "batch_size"}
    axes = [str(key) for key, value in values.items() if isinstance(value, list) and key in single]
    if axes:
        raise UsageError(
            f"{where}: {', '.join(axes)} has several values, so the file is a grid of runs: twelvelead grid "
            f"{path}"
        )


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        logger.info(note)

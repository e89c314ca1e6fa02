"""Train a model: what train.py, torch_train.py and ``twelvelead train`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from training.config import chosen_model
from training.experiments.grid_file import read_grid
from training.experiments.published import translate_words
from training.families import PLAIN, family_of
from training.model_info import model_names
from twelvelead.commands.folds import train_folds
from utils.errors import TwelveLeadError, UsageError, nearest
from utils.flags import first_words
from utils.yaml_files import read_mapping

_OF_FOLDS = {"split", "folds", "fold"}  # a k-fold alone is trained here as well


def main(
    framework: str = "",
    default_model: str = "",
    description: str | None = None,
    args: Sequence[str] | None = None,
) -> None:
    """Read the flags and train; a script names its framework and the model that it trains by default."""
    words = translate_words(sys.argv[1:] if args is None else args)
    _refuse_grid(words)
    model = chosen_model(words) or default_model  # which imports plugins
    asked_help = bool({"-h", "--help"} & set(words))
    if not model and not asked_help:
        raise UsageError(f"--model is missing: {nearest('', model_names(framework))}")
    if asked_help and model not in model_names(framework):
        family = PLAIN[framework or "torch"]
    else:
        family = family_of(model, framework)
    config = family.parse(words, model, description or __doc__)
    if config.split == "kfold" and config.fold == 0:
        train_folds(family, config)
    else:
        family.run(config)


def _refuse_grid(words: Sequence[str]) -> None:
    """Say of a configuration with several values of a setting that another command trains it."""
    path = first_words(words, "config")["config"]
    try:
        listed = any(isinstance(value, list) for value in read_mapping(path).values()) if path else False
        axes = [name for name in read_grid(path).axes if name not in _OF_FOLDS] if listed else []
    except TwelveLeadError:
        return  # whoever reads the whole file says what is wrong with it
    if axes:
        raise UsageError(
            f"{path} has several values of {', '.join(axes)}: it is a grid, trained with twelvelead grid "
            f"{path}"
        )

"""Train a model: what train.py, torch_train.py and ``twelvelead train`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from training.config import chosen_model
from training.experiments.published import translate_words
from training.families import PLAIN, family_of
from training.model_info import model_names
from twelvelead.commands.folds import train_folds
from utils.errors import UsageError, nearest


def main(
    framework: str = "",
    default_model: str = "",
    description: str | None = None,
    args: Sequence[str] | None = None,
) -> None:
    """Read the flags and train; a script names its framework and the model that it trains by default."""
    words = translate_words(sys.argv[1:] if args is None else args)
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

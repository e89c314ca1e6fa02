"""``twelvelead``: one command line; each command is a module that is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys

from utils.errors import UsageError, nearest, run_cli

COMMANDS = {
    "train": ("twelvelead.commands.train:main", "train a model"),
    "test": ("twelvelead.commands.test:main", "score a trained model on its test records"),
    "evaluate": ("twelvelead.commands.evaluate:main", "tables of the best run, class by class"),
    "report": ("twelvelead.commands.report:main", "write reports on trained models"),
    "predict": ("twelvelead.commands.predict:main", "predict recordings with a trained model"),
    "app": ("explorer.command:main", "look at ECGs, predictions and reasons in a browser"),
    "databases": ("twelvelead.commands.databases:main", "list the known databases and what is on this disk"),
    "download": ("databases.download.command:main", "download a public database"),
    "synthetic": ("databases.synthetic.command:main", "write a synthetic dataset"),
    "summary": ("preprocessing.summary:main", "print records and classes of a dataset"),
    "tune": ("training.experiments.tune:main", "search hyperparameters"),
    "grid": ("training.experiments.grid:main", "train a grid of settings, seeds and folds"),
    "baselines": ("twelvelead.commands.baselines:main", "fit the last layer of a frozen model alone"),
    "compare": ("twelvelead.commands.compare:main", "compare runs: differences, tests, rank stability"),
    "certify": ("twelvelead.commands.certify:main", "find thresholds that promise a miss rate"),
    "export": ("training.export.command:main", "write a trained model for other programs (ONNX, hub)"),
    "publish": ("training.publish:main", "copy the weights of a scored run to checkpoints/pretrained"),
}


def usage() -> str:
    """What ``twelvelead --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: twelvelead COMMAND ...",
            "",
            "12-lead ECG deep learning, reproduced, compared and explained.",
            "",
            *lines,
            "",
            "twelvelead COMMAND --help explains a command. Not a medical device.",
        ]
    )


def main(args: list[str] | None = None) -> None:
    """Run the command that the first word names."""
    words = sys.argv[1:] if args is None else args
    run_cli(lambda: _run(words))


def _run(words: list[str]) -> int | None:
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from twelvelead import __version__

        print(f"twelvelead {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{name}': {nearest(name, COMMANDS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module, function = COMMANDS[name][0].split(":")
    sys.argv = [f"twelvelead {name}", *words[1:]]  # commands read their words, and their own name, from there
    return getattr(importlib.import_module(module), function)()

"""Options of the test commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.config import DataOptions, RunOptions, chosen_model
from training.families import family_of
from utils.config import Options, option, option_like, parse
from utils.errors import UsageError, nearest

# what a configuration file of the training says about the test
_OF_TRAINING = {"model", "run", "sub", "data_dir", "partial", "output_dir", "branch"}


@dataclass
class ScoreOptions(Options):
    """Which run is scored, on which data, and how."""

    model: str = option("", "trained model", group="model")
    run: str = option("", "name of the run or checkpoint folder (default: the model)", scope="run")
    sub: bool = option_like(DataOptions, "sub", False, "True: score the run MODEL_mi")
    task: str = option("", "label set; refused where the run was trained on another one", group="data")
    data_dir: str = option_like(
        DataOptions, "data_dir", "", "folder of the database (default: the one it was trained on)"
    )
    batchsize: int = option(32, "records of a forward pass", scope="machine", min=1, alias=("batch_size",))
    resamples: int = option(1000, "bootstrap resamples", min=2)
    seed: int = option(0, "seed of the bootstrap", min=0)
    limit: int = option(0, "score at most this many records (0: all)", group="data", min=0)
    partial: bool | None = option(
        None, "leave out records whose files are absent (default: as in training)", group="data",
        scope="machine",
    )  # fmt: skip
    output_dir: str = option_like(RunOptions, "output_dir", ".", "folder with checkpoints/ and logs/")


@dataclass
class PrototypeScoreOptions(ScoreOptions):
    """What models with prototypes can give beside scores."""

    branch: str = option("", "score this branch alone (default: the fusion)", group="prototypes")
    training_stage: str = option("classifier", "stage of that branch", group="prototypes")
    explain: int = option(
        0, "write the prototypes behind the answers for N records, -1 for all", group="prototypes", min=-1,
        metavar="N",
    )  # fmt: skip
    pictures: int = option(
        5, "of these, make a report with pictures for the first N", group="prototypes", min=0, metavar="N"
    )
    gallery: bool = option(
        False,
        "write one page with all prototypes, to look through and to rate; scores only with --explain",
        group="prototypes",
        scope="run",
    )


def parse_test(
    framework: str,
    list_models: Callable[[], Sequence[str]],
    default_model: str,
    args: Sequence[str] | None = None,
) -> ScoreOptions:
    """Read the flags of `test.py` (Keras) or `torch_test.py`; --config may be that of the training."""
    words = sys.argv[1:] if args is None else args
    script, other = ("test.py", "torch_test.py") if framework == "keras" else ("torch_test.py", "test.py")
    model = chosen_model(words)  # which imports plugins
    models = list_models()
    options = parse(
        ScoreOptions if framework == "keras" else PrototypeScoreOptions,
        words,
        description="Score a trained model on the test records, with confidence intervals over patients.",
        epilog=f"models: {', '.join(models)}\n"
        f"example: python {script} --model {default_model} --batchsize 32 --data_dir data/ptb",
        defaults={"model": default_model},
        also={family_of(model).config_class: _OF_TRAINING} if model in models else None,
    )
    if options.model not in models:
        hint = nearest(options.model, models)
        raise UsageError(f"unknown model '{options.model}': {hint}; other models: python {other}")
    if options.sub and not options.run:
        options.run = f"{options.model}_mi"
    return options

"""Fit the baseline of a PyTorch model: logistic regression on its features, with all other weights frozen.

    twelvelead baselines --model resnet1d_wang --data_dir data/ptb                    # random weights
    twelvelead baselines --model resnet1d_wang --init my_run --data_dir data/ptb      # linear probe
    twelvelead baselines --model resnet1d_wang --init my_run --task rhythm            # on another label set

Features are the inputs of the last layer; the strength of the penalty is chosen on the validation records.
The result is an ordinary run, MODEL_random_init or MODEL_linear_probe, scored and compared like others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from training.config import chosen_model
from training.probe import FAMILY
from utils.errors import UsageError, nearest


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and fit."""
    words = list(sys.argv[1:] if args is None else args)
    model = chosen_model(words)
    if not model and not {"-h", "--help"} & set(words):
        raise UsageError(f"--model is missing: {nearest('', FAMILY.models())}")
    config = FAMILY.parse(words, model, __doc__)
    folder = FAMILY.train(config)
    print(f"wrote {folder}")
    print(f"score it: twelvelead test --model {config.run} --data_dir {config.data_dir}")

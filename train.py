"""Train a Keras model on PTB-XL.

python train.py --model imle_net --batchsize 32 --epochs 60 --loggr False
python train.py --model imle_net --sub True          # second stage: MI sub-diseases, from the first stage
KERAS_BACKEND=torch python train.py --model mousavi  # the same model on another backend
"""

import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from training.config import parse_config
from utils.errors import UsageError, run_cli


def main() -> None:
    """Read the flags and train."""
    import models_tf.backend
    from training.loops.keras_loop import train_keras

    config = parse_config(__doc__, models_tf.list_models, "imle_net")
    if config.devices != 1:
        raise UsageError("--devices is for PyTorch models (torch_train.py); Keras models train on one device")
    if config.sub and not config.init:
        config = dataclasses.replace(config, init=config.model)
    train_keras(config)


if __name__ == "__main__":
    run_cli(main)

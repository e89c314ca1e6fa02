"""Train a PyTorch model on PTB-XL.

python torch_train.py --model ecgnet --batchsize 32 --epochs 60 --loggr False
python torch_train.py --model ecgnet --devices 4     # several GPUs of one machine
"""

import dataclasses

from training.config import parse_config
from utils.errors import run_cli


def main() -> None:
    """Read the flags and train."""
    import models_torch
    from training.torch_loop import train_torch

    config = parse_config(__doc__, models_torch.list_models(), "ecgnet")
    if config.sub and not config.init:
        config = dataclasses.replace(config, init=config.model)
    train_torch(config)


if __name__ == "__main__":
    run_cli(main)

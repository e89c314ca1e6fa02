"""Train a PyTorch model on PTB-XL.

python torch_train.py --model ecgnet --batchsize 32 --epochs 60 --loggr False
python torch_train.py --model ecgnet --devices 4     # several GPUs of one machine
python torch_train.py --model protoecgnet            # three branches, every stage, fusion
python torch_train.py --model protoecgnet --branch morphology --training_stage joint
"""

import dataclasses
import sys

from training.config import chosen_model, parse_config
from utils.errors import run_cli


def main() -> None:
    """Read the flags and train."""
    import models_torch

    args = sys.argv[1:]
    if chosen_model(args) == "protoecgnet":
        from training.protoecgnet.stages import main as train_stages

        return train_stages(__doc__, args)
    from training.loops.processes import together
    from training.loops.torch_loop import train_torch

    config = parse_config(__doc__, models_torch.list_models, "ecgnet", args)
    if config.sub and not config.init:
        config = dataclasses.replace(config, init=config.model)
    with together(config.devices):
        train_torch(config)


if __name__ == "__main__":
    run_cli(main)

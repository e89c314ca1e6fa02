"""Train a Keras model on PTB-XL or another database.

python train.py --model imle_net --batchsize 32 --epochs 60 --loggr False
python train.py --model imle_net --sub True          # second stage: MI sub-diseases, from the first stage
KERAS_BACKEND=torch python train.py --model mousavi  # the same model on another backend
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from twelvelead.commands.train import main as train
from utils.errors import run_cli


def main() -> None:
    """Read the flags and train."""
    train("keras", "imle_net", __doc__)


if __name__ == "__main__":
    run_cli(main)

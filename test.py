"""Score a trained Keras model on its test records.

python test.py --model imle_net --batchsize 32
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from twelvelead.commands.test import main as score
from utils.errors import run_cli


def main() -> None:
    """Read the flags and score."""
    score("keras", "imle_net")


if __name__ == "__main__":
    run_cli(main)

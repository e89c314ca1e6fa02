"""Score a trained PyTorch model on its test records.

python torch_test.py --model ecgnet --batchsize 32
"""

from twelvelead.commands.test import main as score
from utils.errors import run_cli


def main() -> None:
    """Read the flags and score."""
    score("torch", "ecgnet")


if __name__ == "__main__":
    run_cli(main)

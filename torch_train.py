"""Train a PyTorch model on PTB-XL or another database.

python torch_train.py --model ecgnet --batchsize 32 --epochs 60 --loggr False
python torch_train.py --model ecgnet --devices 4     # several GPUs of one machine
python torch_train.py --model protoecgnet            # three branches, every stage, fusion
python torch_train.py --model protoecgnet --branch morphology --training_stage joint
"""

from twelvelead.commands.train import main as train
from utils.errors import run_cli


def main() -> None:
    """Read the flags and train."""
    train("torch", "ecgnet", __doc__)


if __name__ == "__main__":
    run_cli(main)

"""Ask a trained model about one ECG, or about every ECG in a folder.

    python inference.py --dir data/ptb/records100/04000/04827_lr   # a WFDB record
    python inference.py --dir ecg.csv --units uV --model imle_net_mi
    python inference.py --dir folder_of_ecgs/                      # batch mode
    python inference.py --dir a.hea b.csv '*.edf' --no_pictures    # several files, probabilities alone

Reads WFDB, CSV, .npy, .mat and EDF; prints every assumption; writes probabilities with their thresholds, the
attention of a model that has one painted on the 12-lead ECG, and for a model with prototypes a report of the
training ECGs that the answer rests on. Not a medical device.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from twelvelead.commands.predict import main as predict
from utils.errors import run_cli


def main() -> int:
    """Read the flags, predict every recording and say what was written."""
    return predict(__doc__)


if __name__ == "__main__":
    run_cli(main)

"""Print what a PTB-XL folder holds: records, patients and classes of each split.

python -m preprocessing.summary --data_dir data/ptb --task superdiagnostic
"""

from __future__ import annotations

import argparse

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.ptbxl import load_ptbxl
from preprocessing.splits import SPLITS
from preprocessing.targets.ptbxl import tasks
from preprocessing.transforms.standardize import fit_standardizer
from utils.errors import run_cli
from utils.flags import Parser


def summarize(dataset: Dataset) -> str:
    """Describe a dataset as a text table."""
    records, samples, leads = dataset.signals.shape
    scale = fit_standardizer(dataset.split("train"))
    here = [name for name in SPLITS if (dataset.splits == name).any()]
    parts = {name: dataset.split(name) for name in here}
    rows = {"records": [len(part) for part in parts.values()]}
    rows["patients"] = [len(np.unique(part.patients)) for part in parts.values()]
    for column, name in enumerate(dataset.classes):
        rows[name] = [int(part.targets[:, column].sum()) for part in parts.values()]
    width = max(map(len, rows))
    lines = [
        f"task {dataset.task}: {records} records of {samples} samples x {leads} leads at "
        f"{dataset.sampling_rate} Hz, release: {dataset.version}",
        f"training signals: mean {scale.mean:.6f} mV, standard deviation {scale.std:.6f} mV",
        f"fingerprint {dataset.fingerprint}",
        " " * width + "".join(f"{name:>9}" for name in here),
    ]
    lines += [
        f"{name:<{width}}" + "".join(f"{count:>9}" for count in counts) for name, counts in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = Parser(prog="python -m preprocessing.summary", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data_dir", default="data/ptb", help="PTB-XL folder (default: %(default)s)")
    parser.add_argument("--task", default="superdiagnostic", help=f"one of {', '.join(tasks())}")
    parser.add_argument("--sampling_rate", type=int, default=100, help="100 or 500 Hz (default: %(default)s)")
    parser.add_argument("--min_likelihood", type=float, default=0, help="0 to 100 (default: %(default)s)")
    parser.add_argument(
        "--partial", action="store_true", help="leave out listed records whose files are absent"
    )
    args = parser.parse_args()
    dataset = load_ptbxl(
        args.data_dir,
        args.task,
        args.sampling_rate,
        args.min_likelihood,
        on_missing="drop" if args.partial else "error",
    )
    print(summarize(dataset))


if __name__ == "__main__":
    run_cli(main)

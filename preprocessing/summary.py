"""Print what a PTB-XL folder holds: records, patients and classes of each split.

python -m preprocessing.summary --data_dir data/ptb --task superdiagnostic
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.ptbxl import load_ptbxl
from preprocessing.splits import SPLITS
from preprocessing.targets.ptbxl import tasks
from preprocessing.transforms.standardize import fit_standardizer
from utils.config import Options, option, parse
from utils.errors import run_cli


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


@dataclass
class SummaryOptions(Options):
    """What is summarized."""

    data_dir: str = option("data/ptb", "PTB-XL folder", scope="machine")
    task: str = option("superdiagnostic", f"label set, one of {', '.join(tasks())}")
    sampling_rate: int = option(100, "Hz", choices=(100, 500))
    min_likelihood: float = option(0.0, "smallest likelihood (%) at which a statement counts", min=0, max=100)
    partial: bool = option(False, "True: leave out listed records whose files are absent", scope="machine")


def main() -> None:
    """Run the command line."""
    options = parse(SummaryOptions, description=__doc__)
    dataset = load_ptbxl(
        options.data_dir,
        options.task,
        options.sampling_rate,
        options.min_likelihood,
        on_missing="drop" if options.partial else "error",
    )
    print(summarize(dataset))


if __name__ == "__main__":
    run_cli(main)

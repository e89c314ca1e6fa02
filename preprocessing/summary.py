"""Print what a database holds: records, patients and classes of each split.

python -m preprocessing.summary --data_dir data/ptb --task superdiagnostic
python -m preprocessing.summary --data_dir data/ptb --split kfold --folds 5 --fold 2
"""

from __future__ import annotations

from preprocessing.dataset import Dataset
from preprocessing.options import DatasetOptions, open_dataset
from preprocessing.transforms.standardize import fit_standardizer
from utils.config import parse
from utils.errors import run_cli


def summarize(dataset: Dataset) -> str:
    """Describe a dataset as a text table."""
    records, samples, leads = dataset.signals.shape
    scale = fit_standardizer(dataset.split("train"))
    counts = dataset.counts()
    width = max(len(name) for names in counts.values() for name in names)
    split_names = "; ".join(f"{split}: {dataset.split_names[split]}" for split in counts)
    lines = [
        f"task {dataset.task}: {records} records of {samples} samples x {leads} leads at "
        f"{dataset.sampling_rate} Hz, release: {dataset.version}",
        f"training signals: mean {scale.mean:.6f} mV, standard deviation {scale.std:.6f} mV",
        f"fingerprint {dataset.fingerprint}",
        split_names,
        " " * width + "".join(f"{split:>9}" for split in counts),
    ]
    lines += [
        f"{name:<{width}}" + "".join(f"{numbers[name]:>9}" for numbers in counts.values())
        for name in counts["train"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    options = parse(DatasetOptions, description=__doc__)
    print(summarize(open_dataset(options.to_json())))


if __name__ == "__main__":
    run_cli(main)

"""Train a classifier on windows that ``attribution.build`` wrote, on the loop of all PyTorch models.

python -m attribution.build --dataset mitdb --data_dir data/mitdb
python -m attribution.train --dataset mitdb --seed 1
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import models_torch
from attribution.build import BUILDERS
from preprocessing import Standardizer, fit_standardizer
from preprocessing.dataset import ECGDataset
from preprocessing.windows import Windows, load_windows
from training.config import TrainConfig, check, option, parse_config
from training.loops.processes import together
from training.loops.torch_loop import Job, prepare_classifier, train_torch
from training.setup import TrainingData, check_same_data
from utils.errors import DataError, UsageError, nearest, run_cli

_ALIASES = {"--batch_size": "--batchsize", "--learning_rate": "--lr", "--result_dir": "--output_dir"}
_MODELS = {"resnet18_7": "resnet18"}  # the study's name: its kernels are 7 long, as here
_REFERENCE_CHECK = 500  # windows of the training records that stand in for a validation split


@dataclass
class StudyConfig(TrainConfig):
    """A run of the attribution study: windows instead of PTB-XL's folders.

    The fields document themselves: ``python -m attribution.train --help`` prints them.
    """

    dataset: str = option("mitdb", "dataset that attribution.build wrote", group="data")
    dataset_path: str = option("", "its file (default: data/attribution/DATASET.npz)", group="data")
    standardize: str = option(
        "window",
        "window: each lead of each window to mean 0 and deviation 1, as in the study; dataset: one mean and "
        "deviation of the training windows, which keeps amplitudes",
        choices=("window", "dataset"),
        group="data",
    )
    lr: float = option(1e-3, "learning rate of Adam", group="optimisation")
    epochs: int = option(20, "epochs at most", group="optimisation")
    schedule: str = option(
        "cosine", "learning rate over the run", choices=("constant", "cosine", "plateau", "cyclic"),
        group="optimisation",
    )  # fmt: skip
    weight_decay: float = option(1e-4, "decoupled weight decay (AdamW); 0: plain Adam", group="optimisation")
    patience: int = option(
        20, "stop after so many epochs without a better ROC-AUC on the validation patients",
        group="optimisation",
    )  # fmt: skip
    keep: str = option(
        "last",
        "weights to keep: of the last epoch, as in the study (a few validation patients choose badly), "
        "or of the best one on the validation patients",
        choices=("best", "last"),
        group="optimisation",
    )
    run: str = option("", "name of the run (default: DATASET_MODEL_seedSEED)")
    data_dir: str = ""
    task: str = "superdiagnostic"
    sub: bool = False
    sampling_rate: int = 100
    min_likelihood: float = 0.0
    highpass: float = 0.0
    partial: bool = False


def check_study(config: StudyConfig, models: Sequence[str]) -> StudyConfig:
    """Refuse impossible values and fill in the names that follow from others."""
    config = dataclasses.replace(config, model=_MODELS.get(config.model, config.model))
    if config.model.startswith("protoecgnet"):
        raise UsageError(
            "ProtoECGNet is trained by torch_train.py; attribution.compute explains it from there"
        )
    path = config.dataset_path or f"data/attribution/{config.dataset}.npz"
    if config.dataset not in BUILDERS and not Path(path).exists():
        raise UsageError(f"unknown dataset '{config.dataset}': {nearest(config.dataset, BUILDERS)}")
    run = config.run or f"{config.dataset}_{config.model}_seed{config.seed}"
    return check(dataclasses.replace(config, dataset_path=path, run=run), models)


def load_study_data(config: StudyConfig, progress: dict[str, Any] | None = None) -> TrainingData:
    """Load windows and fit their standardiser."""
    windows = load_windows(config.dataset_path)
    if windows.dataset != config.dataset:
        raise DataError(f"{config.dataset_path} holds '{windows.dataset}', not --dataset {config.dataset}")
    samples = windows.signals.shape[1]
    if config.crop > samples:
        raise UsageError(f"--crop {config.crop} is longer than the windows ({samples} samples)")
    whole = windows.to_dataset()
    train, val, names = _splits(windows, whole, config.seed)
    per_window = config.standardize == "window"
    standardizer = Standardizer(0.0, 1.0, per_record=True) if per_window else fit_standardizer(train)
    if config.limit:
        train, val = train.select(config.limit, config.seed), val.select(config.limit, config.seed)
    if not (val.labels.any(axis=0) & ~val.labels.all(axis=0)).any():
        raise DataError(
            f"the {names[1]} hold only one class, so no ROC-AUC tells how training goes: use more windows "
            "(a larger --limit), or build them from more records"
        )
    data = TrainingData(train, val, standardizer, windows.multilabel, windows.fingerprint, names)
    check_same_data(config, data, progress, config.dataset_path)
    for split, name in ((train, names[0]), (val, names[1])):
        counts = zip(split.classes, split.labels.sum(axis=0), strict=True)
        print(f"{name}: {len(split)} windows: " + ", ".join(f"{label} {count}" for label, count in counts))
    return data


def _splits(
    windows: Windows, whole: ECGDataset, seed: int
) -> tuple[ECGDataset, ECGDataset, tuple[str, str, str]]:
    """Training and validation windows, and what they are."""
    if (windows.splits == "val").any():
        names = ("training patients", "validation patients", "test patients")
        return whole.split("train"), whole.split("val"), names
    # The study has no validation split and its "validation" figures are those of the test set. Here a part of
    # the training windows stands in, which chooses nothing: the last epoch is kept.
    train = whole.split("train")
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:_REFERENCE_CHECK])
    return train, train.take(rows), ("training windows", "training windows kept in view", "test windows")


def prepare_study(config: StudyConfig, data: TrainingData) -> Job:
    """Model, optimiser and loss of a run of the study."""
    card = {"task": config.dataset, "windows": Path(config.dataset_path).name}
    return dataclasses.replace(prepare_classifier(config, data), card=card)


def main() -> None:
    """Read the flags and train."""
    words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    if "--gpu_num" in words:
        print("note: --gpu_num has no meaning here: the GPU is used where there is one")
        words = [w for i, w in enumerate(words) if w != "--gpu_num" and words[max(0, i - 1)] != "--gpu_num"]
    models = models_torch.list_models()
    config = parse_config(
        __doc__,
        models,
        "resnet18",
        [_ALIASES.get(word, word) for word in words],
        StudyConfig,
        check_study,
        "python -m attribution.train",
    )
    with together(config.devices):
        train_torch(config, prepare=prepare_study, load=load_study_data)


if __name__ == "__main__":
    run_cli(main)

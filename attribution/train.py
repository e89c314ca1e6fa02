"""Train a classifier on windows that ``attribution.build`` wrote, on the loop of all PyTorch models.

python -m attribution.build --dataset mitdb --data_dir data/mitdb
python -m attribution.train --dataset mitdb --seed 1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import models_torch
from databases import list_databases
from preprocessing import Standardizer, fit_standardizer
from preprocessing.dataset import Dataset
from preprocessing.options import FoldOptions
from preprocessing.preprocessed import check_same_shape, preprocess_dataset
from preprocessing.splits import SPLIT_NAMES, follow_split
from preprocessing.transforms.preprocessor import PreprocManager
from preprocessing.windows import load_windows
from training.config import (
    DataOptions,
    ModelOptions,
    OptimizerOptions,
    RunOptions,
    TrainConfig,
    TrainOptions,
    check_run,
    parse_config,
)
from training.families import family_of
from training.loops.processes import together
from training.loops.torch_loop import Job, prepare_classifier, train_torch
from training.setup import TrainingData, check_same_data
from utils.config import Options, option, option_like
from utils.errors import DataError, UsageError, nearest, run_cli

_WORDS = {"train": "training", "val": "validation", "test": "test"}
_REFERENCE_CHECK = 500  # windows of the training records that stand in for a validation split


@dataclass
class WindowOptions(Options, group="data"):
    """Which windows a run reads, and how they are standardized."""

    dataset: str = option("mitdb", "dataset that attribution.build wrote", searchable=False)
    dataset_path: str = option("", "its file (default: data/attribution/DATASET.npz)", scope="machine")
    standardize: str = option(
        "window",
        "window: each lead of each window to mean 0 and deviation 1, as in the study; dataset: one mean and "
        "deviation of the training windows, which keeps amplitudes",
        choices=("window", "dataset"),
    )
    preprocess: list[str] = option_like(DataOptions, "preprocess", [])
    limit: int = option(0, "use at most this many windows of each split (0: all)", min=0, searchable=False)


@dataclass
class StudyConfig(TrainOptions, FoldOptions, WindowOptions):
    """A run of the attribution study; ``python -m attribution.train --help`` prints the fields."""

    model: str = option_like(ModelOptions, "model", "resnet18", values={"resnet18_7": "resnet18"})
    epochs: int = option_like(OptimizerOptions, "epochs", 20)
    lr: float = option_like(OptimizerOptions, "lr", 1e-3, alias=("learning_rate",))
    schedule: str = option_like(OptimizerOptions, "schedule", "cosine")
    weight_decay: float = option_like(OptimizerOptions, "weight_decay", 1e-4)
    keep: str = option_like(
        OptimizerOptions,
        "keep",
        "last",
        "weights to keep: of the last epoch, as in the study (a few validation patients choose badly), "
        "or of the best one on the validation patients",
    )
    run: str = option_like(RunOptions, "run", "", "name of the run (default: DATASET_MODEL_seedSEED)")
    output_dir: str = option_like(RunOptions, "output_dir", ".", alias=("result_dir",))

    @property
    def task(self) -> str:
        """The dataset is what its windows are labeled for."""
        return self.dataset


def check_study(config: StudyConfig, models: Sequence[str]) -> StudyConfig:
    """Refuse impossible values and fill in the names that follow from others."""
    family = family_of(config.model, "torch")
    if family.config_class is not TrainConfig:  # trained in a way of its own
        raise UsageError(
            f"{config.model} is trained by {family.script}; attribution.compute explains it from there"
        )
    path = config.dataset_path or f"data/attribution/{config.dataset}.npz"
    if config.dataset not in list_databases() and not Path(path).exists():
        raise UsageError(f"unknown dataset '{config.dataset}': {nearest(config.dataset, list_databases())}")
    check_same_shape(PreprocManager.from_words(config.preprocess))
    fold = f"_fold{config.fold}" * (config.split == "kfold")
    run = config.run or f"{config.dataset}_{config.model}{fold}_seed{config.seed}"
    return check_run(dataclasses.replace(config, dataset_path=path, run=run), models)


def load_study_data(config: StudyConfig, progress: dict[str, Any] | None = None) -> TrainingData:
    """Load windows and fit their standardizer."""
    windows = load_windows(config.dataset_path)
    if windows.name != config.dataset:
        raise DataError(f"{config.dataset_path} holds '{windows.name}', not --dataset {config.dataset}")
    windows = follow_split(windows, config.to_json())
    samples = windows.signals.shape[1]
    if config.crop > samples:
        raise UsageError(f"--crop {config.crop} is longer than the windows ({samples} samples)")
    preprocess, folder = PreprocManager.from_words(config.preprocess), Path(config.dataset_path).parent
    train, val = (preprocess_dataset(part, preprocess, folder) for part in _splits(windows, config.seed))
    per_window = config.standardize == "window"
    standardizer = Standardizer(0.0, 1.0, per_record=True) if per_window else fit_standardizer(train)
    if config.limit:
        train, val = train.select(config.limit, config.seed), val.select(config.limit, config.seed)
    data = TrainingData(train, val, standardizer, windows.fingerprint, preprocess)
    names = data.names
    if not (val.targets.any(axis=0) & ~val.targets.all(axis=0)).any():
        raise DataError(
            f"the {names[1]} hold only one class, so no ROC-AUC tells how training goes: use more windows "
            "(a larger --limit), or build them from more records"
        )
    check_same_data(config, data, progress, config.dataset_path)
    for split, name in ((train, names[0]), (val, names[1])):
        counts = zip(split.classes, split.targets.sum(axis=0), strict=True)
        print(f"{name}: {len(split)} windows: " + ", ".join(f"{label} {count}" for label, count in counts))
    return data


def _splits(windows: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Training and validation windows."""
    if (windows.splits == "val").any():
        if windows.split_names == SPLIT_NAMES:
            names = {split: f"{word} patients" for split, word in _WORDS.items()}
            windows = dataclasses.replace(windows, split_names=names)
        return windows.split("train"), windows.split("val")
    # The study has no validation split and its "validation" figures are those of the test set. Here a part of
    # the training windows stands in, which chooses nothing: the last epoch is kept.
    names = {"train": "training windows", "val": "training windows kept in view", "test": "test windows"}
    train = dataclasses.replace(windows, split_names=names).split("train")
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:_REFERENCE_CHECK])
    return train, train.take(rows)


def prepare_study(config: StudyConfig, data: TrainingData) -> Job:
    """Model, optimizer and loss of a run of the study."""
    extra = {"task": config.dataset, "windows": Path(config.dataset_path).name}
    return dataclasses.replace(prepare_classifier(config, data), extra=extra)


def main() -> None:
    """Read the flags and train."""
    config = parse_config(
        __doc__,
        models_torch.list_models,
        "resnet18",
        kind=StudyConfig,
        checked=check_study,
        ignored={"gpu_num": "the GPU is used where there is one"},
    )
    with together(config.devices):
        train_torch(config, prepare=prepare_study, load=load_study_data)


if __name__ == "__main__":
    run_cli(main)

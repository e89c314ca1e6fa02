"""From a configuration to data that is ready to train on, and to a run folder that is free to write."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preprocessing import Dataset, Standardizer, fit_standardizer
from preprocessing.batches import Batches
from preprocessing.options import open_dataset
from training.checkpoint import find_checkpoint, load_state, read_card
from training.config import TrainConfig
from utils.config import names_of, stored_settings
from utils.errors import DataError, UsageError
from utils.files import write_text
from utils.loggers import check_wandb


@dataclass(frozen=True)
class TrainingData:
    """Splits of one database with the standardizer of the training records.

    ``train, val``: what is learned from, and what every choice is made on.
    ``standardizer``: fitted on ``train`` before any limit was applied to it.
    ``fingerprint``: of the whole dataset.
    """

    train: Dataset
    val: Dataset
    standardizer: Standardizer
    fingerprint: str

    @property
    def multilabel(self) -> bool:
        """False where every record has exactly one class."""
        return self.train.multilabel

    @property
    def names(self) -> tuple[str, str, str]:
        """Training, validation and test records in words."""
        names = self.train.split_names
        return names["train"], names[self.train.selection], names["test"]

    def counts(self) -> dict[str, int]:
        """Records of each split."""
        return {"train": len(self.train), "val": len(self.val)}

    def batches(self, config: TrainConfig) -> Batches:
        """Training batches as the configuration wants them."""
        return Batches(
            self.train,
            self.standardizer,
            config.batchsize,
            seed=config.seed,
            shuffle=True,
            augmentation=config.augmentation,
            label_smoothing=config.label_smoothing,
            multilabel=self.multilabel,
        )


def follow_init(config: TrainConfig) -> TrainConfig:
    """Take crop and model options from the checkpoint that ``--init`` names, where not given."""
    if not config.init:
        return config
    card = read_card(find_checkpoint(config.init, config.output_dir))
    if card["model"]["name"] != config.model:  # the loop says which model it needs
        return config
    crop = config.crop or card.get("crop", 0)
    if crop != config.crop:
        print(f"trains on crops of {crop} samples, as '{config.init}' did")
    decided = ("name", "num_classes", "samples", "leads", "activation")
    options = {key: value for key, value in card["model"].items() if key not in decided}
    return replace(config, crop=crop, model_config={**options, **config.model_config})


def load_training_data(config: TrainConfig, progress: dict[str, Any] | None = None) -> TrainingData:
    """Load the training and validation records, fit the standardizer and apply ``limit``."""
    dataset = open_dataset(config.to_json())
    train = dataset.split("train")
    val = dataset.split(dataset.selection)
    standardizer = fit_standardizer(train, config.highpass)
    if config.limit:
        train, val = train.select(config.limit, config.seed), val.select(config.limit, config.seed)
    samples = train.signals.shape[1]
    if config.crop > samples:
        raise UsageError(f"--crop {config.crop} is longer than the records ({samples} samples)")
    data = TrainingData(train, val, standardizer, dataset.fingerprint)
    names = data.names
    if not (val.labels.any(axis=0) & ~val.labels.all(axis=0)).any():
        raise DataError(
            f"{config.task}: no class has both positive and negative records in {names[1]} ({len(val)} "
            "records), so no ROC-AUC can choose a checkpoint: use more records (--limit 0) or another --task"
        )
    unseen = train.labels.any(axis=0) & ~val.labels.any(axis=0)
    if unseen.any():
        absent = [name for name, missing in zip(dataset.classes, unseen, strict=True) if missing]
        print(f"{names[1]} has no record with {', '.join(absent)}: no say in any choice, threshold 0.5")
    check_same_data(config, data, progress, config.data_dir)
    counts = data.counts()
    limited = f" (--limit {config.limit})" if config.limit else ""
    print(
        f"{config.task}: {', '.join(dataset.classes)}; {names[0]}: {counts['train']} records, "
        f"{names[1]}: {counts['val']} records{limited}; mean {standardizer.mean:.6f} mV, "
        f"std {standardizer.std:.6f} mV"
    )
    return data


def check_same_data(
    config: TrainConfig, data: TrainingData, progress: dict[str, Any] | None, where: str
) -> None:
    """Refuse to go on with a run on other data than it was started on."""
    if progress and progress["fingerprint"] != data.fingerprint:
        raise DataError(f"{where} is not the data that run '{config.run}' was started on: use --overwrite")


def claim_run(config: TrainConfig) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Make sure that a run neither destroys nor mixes with another one, and that wandb can be used.

    Nothing is removed yet: a replaced run goes with `clear_run`, once everything else is known to be right.
    """
    if config.loggr:
        check_wandb()
    folder = Path(config.output_dir) / "checkpoints" / config.run
    if config.resume:
        arrays, progress = load_state(folder)
        check_same_settings(config, progress["config"])
        return arrays, progress
    # what a kill during the very first write leaves is no run
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".partial-")]
    if files and not config.overwrite:
        raise UsageError(
            f"run '{config.run}' exists in {folder}: --resume goes on with it, --overwrite replaces it, "
            "--run NAME makes another"
        )
    return None, None


def clear_run(config: TrainConfig) -> None:
    """Remove the run that is replaced, or half-written files of the one that is resumed."""
    folder = Path(config.output_dir) / "checkpoints" / config.run
    for place in (folder, Path(config.output_dir) / "logs" / config.run):
        if config.resume:
            for partial in place.rglob(".partial-*"):
                partial.unlink()
        else:
            shutil.rmtree(place, ignore_errors=True)
    # a folder that cannot be written to should show before an epoch is lost
    probe = folder / "last" / "probe"
    write_text(probe, "")
    probe.unlink()


def check_same_settings(config: TrainConfig, before: dict[str, Any]) -> None:
    """Refuse to resume a run with other settings than it was started with."""
    free = names_of(config, ("stop", "machine", "run"))
    if config.schedule != "constant":
        free.remove("epochs")
    now = config.to_json()
    before = stored_settings(type(config), before)
    names = [name for name in now if name not in free and before.get(name) != now[name]]
    if names:
        changed = ", ".join(f"--{n} was {before.get(n)!r}, is {now[n]!r}" for n in names)
        raise UsageError(f"--resume needs the settings the run was started with: {changed}")


def thread_count(config: TrainConfig) -> int:
    """CPU threads to use: as asked, or as many as this process may run on."""
    if config.threads:
        return config.threads
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

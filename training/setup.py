"""From a configuration to data that is ready to train on."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from databases.synthetic.sample import write_sample
from preprocessing import Dataset, Standardizer, fit_standardizer
from preprocessing.batches import Batches
from preprocessing.options import data_folder, open_dataset
from preprocessing.preprocessed import preprocess_dataset
from preprocessing.transforms.preprocessor import PreprocManager
from training.card import TITLES, Card
from training.checkpoint import find_checkpoint, read_card
from training.config import TrainConfig, TrainOptions
from training.tasks import Task, create_task
from utils.errors import DataError, UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """Splits of one database with the standardizer of the training records.

    ``train, val``: what is learned from, and what every choice is made on.
    ``standardizer``: fitted on ``train`` before any limit was applied to it.
    ``fingerprint``: of the whole dataset.
    ``preprocess``: what was done to the signals of ``train`` and ``val`` already.
    """

    train: Dataset
    val: Dataset
    standardizer: Standardizer
    fingerprint: str
    preprocess: PreprocManager = field(default_factory=PreprocManager)

    @property
    def standardization(self) -> dict[str, Any]:
        """What turns records in mV into the inputs of the model, as its card has it."""
        if not self.preprocess:
            return self.standardizer.to_json()
        rate = int(self.train.sampling_rate)
        return replace(self.standardizer, preprocess=self.preprocess, sampling_rate=rate).to_json()

    @property
    def names(self) -> tuple[str, str, str]:
        """Training, validation and test records in words."""
        names = self.train.split_names
        return names["train"], names[self.train.selection], names["test"]

    @functools.cached_property
    def task(self) -> Task:
        """How the data is learned and judged."""
        train = self.train
        task = create_task(train.kind, train.classes, train.sampling_rate)
        if task.aligned and train.targets.ndim > 1:
            task.reduction = max(1, train.samples // max(1, train.targets.shape[1]))
        return task

    def sizes(self, config: TrainOptions) -> dict[str, int]:
        """Sizes of a model that the data decides."""
        _, samples, leads = self.train.signals.shape
        return {"num_classes": len(self.task.classes), "samples": config.crop or samples, "leads": leads}

    def output_shape(self, config: TrainOptions) -> tuple[int, ...]:
        """Shape of a model's output for one record that it is trained on."""
        return self.task.output_shape(self.train.targets, self.sizes(config)["samples"])

    @property
    def parts(self) -> dict[str, Dataset]:
        """Training and validation records."""
        return {"train": self.train, "val": self.val}

    def counts(self) -> dict[str, int]:
        """Records of each split."""
        return {name: len(part) for name, part in self.parts.items()}

    def batches(self, config: TrainOptions) -> Batches:
        """Training batches as the configuration wants them."""
        return Batches(
            self.train,
            self.standardizer,
            config.batchsize,
            seed=config.seed,
            shuffle=True,
            augmentation=config.augmentation,
            encode=functools.partial(self.task.encode, smoothing=config.label_smoothing),
            aligned=self.task.aligned,
        )


def initial_checkpoint(config: TrainOptions, framework: str) -> tuple[Path, Card] | None:
    """Folder and card that ``--init`` names; None without it and for a resumed run."""
    if not config.init or config.resume:
        return None
    folder = find_checkpoint(config.init, config.output_dir)
    card = read_card(folder)
    if card.framework != framework or card.name != config.model:
        what = f"a {TITLES[framework]} '{config.model}'"
        raise DataError(f"--init {folder} holds '{card.name}', not {what}")
    return folder, card


def follow_init(config: TrainOptions) -> TrainOptions:
    """Use crop and model options of the checkpoint that ``--init`` names, where not given."""
    if not config.init:
        return config
    card = read_card(find_checkpoint(config.init, config.output_dir))
    if card.name != config.model:  # the loop says which model it needs
        return config
    crop = config.crop or card.inputs.crop
    if crop != config.crop:
        logger.info(f"trains on crops of {crop} samples, as '{config.init}' did")
    decided = ("name", "num_classes", "samples", "leads", "activation")
    options = {key: value for key, value in card.model.items() if key not in decided}
    return replace(config, crop=crop, model_config={**options, **config.model_config})


def load_training_data(config: TrainConfig, progress: dict[str, Any] | None = None) -> TrainingData:
    """Load the training and validation records, fit the standardizer and apply ``limit``."""
    if config.sample_only:
        write_sample(config.data_dir)
    dataset = open_dataset(config.to_json())
    preprocess = PreprocManager.from_words(config.preprocess)
    train, val = (
        preprocess_dataset(dataset.split(name), preprocess, data_folder(config.to_json()))
        for name in ("train", dataset.selection)
    )
    standardizer = fit_standardizer(train, config.highpass)
    if config.limit:
        train, val = train.select(config.limit, config.seed), val.select(config.limit, config.seed)
    samples = train.signals.shape[1]
    if config.crop > samples:
        raise UsageError(f"--crop {config.crop} is longer than the records ({samples} samples)")
    data = TrainingData(train, val, standardizer, dataset.fingerprint, preprocess)
    data.task.check_data(train, val)
    check_same_data(config, data, progress, config.data_dir)
    counts = data.counts()
    limited = f" (--limit {config.limit})" if config.limit else ""
    logger.info(
        f"{config.task}: {', '.join(dataset.classes)}; {data.names[0]}: {counts['train']} records, "
        f"{data.names[1]}: {counts['val']} records{limited}; mean {standardizer.mean:.6f} mV, "
        f"std {standardizer.std:.6f} mV"
    )
    return data


def check_same_data(
    config: TrainOptions, data: TrainingData, progress: dict[str, Any] | None, where: str
) -> None:
    """Refuse to resume a run on other data than it was started on."""
    if progress and progress["fingerprint"] != data.fingerprint:
        raise DataError(f"{where} is not the data that run '{config.run}' was started on: use --overwrite")

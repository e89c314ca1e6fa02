"""Models whose last layer alone is learned, in closed form: ridge regression on fixed features."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import linalg
from tqdm import tqdm

import models_torch
from preprocessing import Dataset
from preprocessing.batches import Batches
from training.config import OptimizerOptions, TrainConfig
from training.families import TorchFamily
from training.heads import keep_best_head, one_hot
from training.run import Run
from training.setup import TrainingData, load_training_data
from training.torch_io import limit_threads
from utils.config import names_of
from utils.errors import UsageError
from utils.seeds import seed_everything

if TYPE_CHECKING:
    from training.loops.recorder import OnEpoch

logger = logging.getLogger(__name__)

PENALTIES = np.logspace(-1, 6, 15)
_CHUNK = 1024  # rows or features that are float64 at a time
_DRAWN = 1024  # training records from which the biases are drawn


class RidgeFamily(TorchFamily):
    """Ridge regression on fixed features; the penalty with the best validation score is kept."""

    def check(self, config: Any, models: Any) -> Any:
        """Refuse what needs epochs."""
        config = super().check(config, models)
        if config.resume:
            raise UsageError(f"{config.model} is fitted in one piece: use --overwrite instead of --resume")
        if config.crop or config.augmentation is not None or config.label_smoothing or config.loss:
            raise UsageError(
                f"{config.model} is fitted once to whole records: leave out --crop, augmentation, "
                "--label_smoothing and --loss"
            )
        return config

    def unused(self, config: Any) -> dict[str, str]:
        """Settings of gradient descent."""
        return dict.fromkeys(names_of(OptimizerOptions), f"on {config.model}, which is fitted in one piece")

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Fit one run; ``on_epoch`` is told of the best penalty alone."""
        limit_threads(config.threads)
        with Run.claim(config) as run:
            data = load_training_data(config)
            if data.task.kind not in ("multilabel", "multiclass"):
                raise UsageError(f"{config.model} classifies records; task {config.task} is {data.task.kind}")
            seed_everything(config.seed)
            options = {**data.sizes(config), **config.model_config}
            model = models_torch.create_model(config.model, **options).eval()
            run.clear()
            score = _fit(run, config, model, data)
        if on_epoch is not None:
            on_epoch(0, score)
        return run.folder


def _fit(run: Run, config: TrainConfig, model: Any, data: TrainingData) -> float:
    """Fit the head, write card, weights and metrics.csv; return the best validation score."""
    drawn = data.train.select(min(_DRAWN, len(data.train)), config.seed)
    model.draw_biases(torch.from_numpy(data.standardizer(drawn.signals[:])), config.seed)
    logger.info(f"{config.model}: {model.count:,} features, run '{config.run}'")
    x, val_x = (_features(model, part, data, config) for part in (data.train, data.val))
    candidates = _solutions(x, 2.0 * one_hot(data) - 1.0)
    return keep_best_head(run, config, model, model.head, data, val_x[:, None], candidates, "penalty")


def _features(model: Any, part: Dataset, data: TrainingData, config: TrainConfig) -> np.ndarray:
    """Features of all records of a split, (N, features)."""
    batches = Batches(part, data.standardizer, config.batchsize)
    rows = np.empty((len(part), model.count), np.float32)
    for index in tqdm(range(len(batches)), desc="features", unit="batch", leave=False, disable=None):
        first = index * config.batchsize
        features = model.parts_above(torch.from_numpy(batches.batch(0, index)[0]))
        rows[first : first + len(features)] = features.numpy()
    return rows


def _solutions(x: np.ndarray, y: np.ndarray) -> Any:
    """Penalty, weights (features, C) and bias (C,) of ridge regression, for each penalty.

    Features are centered and divided by their deviation first; the smaller of the two systems is solved.
    """
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8, 1 / np.maximum(deviation, 1e-8), 0.0)
    z, center = ((x - mean) * scale).astype(np.float32), y.mean(axis=0)
    dual = len(z) < z.shape[1]
    gram = _gram(z.T if dual else z)
    right = y - center if dual else z.T @ (y - center)
    diagonal = np.einsum("ii->i", gram)
    before = diagonal.copy()
    for penalty in PENALTIES:
        diagonal[:] = before + penalty
        solved = linalg.cho_solve(linalg.cho_factor(gram, lower=True), right)
        weight = (z.T @ solved if dual else solved) * scale[:, None]
        yield float(penalty), weight.astype(np.float32), (center - mean @ weight).astype(np.float32)


def _gram(z: np.ndarray) -> np.ndarray:
    """Products of all pairs of columns, summed in float64, (columns, columns)."""
    total = np.zeros((z.shape[1], z.shape[1]))
    for first in range(0, len(z), _CHUNK):
        rows = z[first : first + _CHUNK].astype(np.float64)
        total += rows.T @ rows
    return total


FAMILY = RidgeFamily()

"""Logistic regression on a frozen model: the baselines of random weights and of the linear probe."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from tqdm import tqdm

import models_torch
from preprocessing import Dataset
from preprocessing.batches import Batches
from training.config import TrainConfig
from training.families import PLAIN, TorchFamily, family_of
from training.heads import keep_best_head, one_hot
from training.predictor import crop_starts
from training.run import Run
from training.setup import TrainingData, follow_init, initial_checkpoint, load_training_data
from training.torch_io import copy_weights, limit_threads, read_weights
from utils.errors import UsageError
from utils.seeds import seed_everything

if TYPE_CHECKING:
    from training.card import Card
    from training.loops.recorder import OnEpoch

logger = logging.getLogger(__name__)

STRENGTHS = np.logspace(-4, 1, 6)  # C of scikit-learn: small values regularize
_ITERATIONS = 1000


class ProbeFamily(TorchFamily):
    """A plain PyTorch model whose last layer alone is learned, by logistic regression.

    Without ``init`` the other weights stay as they were drawn.
    """

    def check(self, config: Any, models: Any) -> Any:
        """Name the run, and refuse what needs gradient descent."""
        if not config.run:
            kind = "linear_probe" if config.init else "random_init"
            fold = f"_fold{config.fold}" * (config.split == "kfold")
            config = dataclasses.replace(config, run=f"{config.model}_{kind}{fold}")
        config = super().check(config, models)
        if config.resume:
            raise UsageError("a baseline is fitted in one piece: use --overwrite instead of --resume")
        whole = dataclasses.replace(config, crop=0)
        if whole.augmentation is not None or config.label_smoothing or config.loss:
            raise UsageError(
                "a baseline is fitted once: leave out augmentation, --label_smoothing and --loss"
            )
        if family_of(config.model) is not PLAIN["torch"]:
            raise UsageError(f"baselines are for plain PyTorch models, which '{config.model}' is not")
        return config

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Fit one run; ``on_epoch`` is told of the best strength alone."""
        limit_threads(config.threads)
        config = follow_init(config)
        with Run.claim(config) as run:
            initial = initial_checkpoint(config, "torch")
            data = load_training_data(config)
            if data.task.kind not in ("multilabel", "multiclass"):
                raise UsageError(f"baselines classify records; task {config.task} is {data.task.kind}")
            seed_everything(config.seed)
            options = {**data.sizes(config), **config.model_config}
            model = models_torch.create_model(config.model, **options).eval()
            if initial:
                copy_weights(read_weights(initial[0] / initial[1].weights), model)
            layer = _last_layer(model, data, config)
            run.clear()
            score = _fit(run, config, model, layer, data, initial[1] if initial else None)
        if on_epoch is not None:
            on_epoch(0, score)
        return run.folder


def _last_layer(model: nn.Module, data: TrainingData, config: TrainConfig) -> nn.Linear:
    """The linear layer whose outputs are those of the model."""
    linear = [part for part in getattr(model, "head", nn.Identity()).modules() if isinstance(part, nn.Linear)]
    length = config.crop or data.val.signals.shape[1]
    x = torch.from_numpy(data.standardizer(data.val.signals[:1])[:, :length])
    if linear:
        with torch.inference_mode():
            logits = model(x)
            again = linear[-1](_inputs(model, linear[-1], x))
        if logits.shape == again.shape and torch.allclose(logits, again, rtol=1e-4, atol=1e-5):
            return linear[-1]
    raise UsageError(f"'{config.model}' does not end in a linear layer, which a baseline could learn")


def _inputs(model: nn.Module, layer: nn.Linear, signals: torch.Tensor) -> torch.Tensor:
    """What the last layer reads, (B, F)."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.inference_mode():
            model(signals)
    finally:
        hook.remove()
    return seen[-1]


def _fit(
    run: Run,
    config: TrainConfig,
    model: nn.Module,
    layer: nn.Linear,
    data: TrainingData,
    initial: Card | None,
) -> float:
    """Fit the last layer, write card, weights and metrics.csv; return the best validation score."""
    samples = data.val.signals.shape[1]
    length = config.crop or samples
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    apart = list(range(0, samples - length + 1, length))  # windows of training records do not overlap
    x = _features(model, layer, data.train, apart, data, config)
    val_x = _features(model, layer, data.val, crop_starts(samples, config.crop), data, config)
    model.cpu()
    logger.info(f"{config.model}: {x.shape[2]} features of {x.shape[1]} windows a record, run '{config.run}'")
    targets = np.repeat(one_hot(data), x.shape[1], axis=0)
    candidates = _solutions(x.reshape(-1, x.shape[2]), targets, data.task.kind == "multiclass")
    extra = {"baseline": "linear probe" if initial else "random weights"}
    made_from = [initial.weights_sha256] if initial else None
    return keep_best_head(run, config, model, layer, data, val_x, candidates, "C", made_from, extra)


def _features(
    model: nn.Module,
    layer: nn.Linear,
    part: Dataset,
    starts: list[int],
    data: TrainingData,
    config: TrainConfig,
) -> np.ndarray:
    """Inputs of the last layer for windows of all records of a split, (N, windows, F)."""
    batches = Batches(part, data.standardizer, config.batchsize)
    length = config.crop or part.signals.shape[1]
    device = next(model.parameters()).device
    rows = []
    for index in tqdm(range(len(batches)), desc="features", unit="batch", leave=False, disable=None):
        signals = torch.from_numpy(batches.batch(0, index)[0]).to(device)
        windows = [_inputs(model, layer, signals[:, start : start + length]) for start in starts]
        rows.append(torch.stack(windows, dim=1).float().cpu().numpy())
    return np.concatenate(rows)


def _solutions(
    x: np.ndarray, y: np.ndarray, exclusive: bool
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """C, weights (F, C) and bias (C,) of logistic regression on standardized features, for each C."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8, 1 / np.maximum(deviation, 1e-8), 0.0)
    z = ((x - mean) * scale).astype(np.float32)
    for strength in map(float, STRENGTHS):
        weight, bias = _logistic(z, y, strength, exclusive)
        weight *= scale[:, None]
        yield strength, weight.astype(np.float32), (bias - mean @ weight).astype(np.float32)


def _logistic(
    z: np.ndarray, y: np.ndarray, strength: float, exclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (F, C) and bias (C,) of one strength; a class that no or every record has gets a bias alone."""
    weight, bias = np.zeros((z.shape[1], y.shape[1])), np.log((y.sum(axis=0) + 0.5) / (len(y) + 1.0))
    if exclusive:
        fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(z, y.argmax(axis=1))
        present = fitted.classes_ if len(fitted.classes_) > 2 else fitted.classes_[1:]
        bias[fitted.classes_] = 0.0
        weight[:, present], bias[present] = fitted.coef_.T, fitted.intercept_
        return weight, bias
    bias -= np.log((len(y) - y.sum(axis=0) + 0.5) / (len(y) + 1.0))
    for column in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)):
        fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(z, y[:, column])
        weight[:, column], bias[column] = fitted.coef_[0], fitted.intercept_[0]
    return weight, bias


FAMILY = ProbeFamily()

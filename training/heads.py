"""The last layer of a model alone: candidates for it are judged on the validation records."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from training.checkpoint import write_checkpoint
from training.config import TrainConfig
from training.loops.cards import make_card, provenance_of
from training.run import Run
from training.setup import TrainingData
from training.tasks.selection import selection_score, selection_title
from training.torch_io import torch_forward
from utils.loggers import RunLogger

logger = logging.getLogger(__name__)


def keep_best_head(
    run: Run,
    config: TrainConfig,
    model: torch.nn.Module,
    layer: torch.nn.Linear,
    data: TrainingData,
    features: np.ndarray,
    candidates: Iterable[tuple[float, np.ndarray, np.ndarray]],
    setting: str,
    made_from: list[str] | None = None,
    extra: dict[str, Any] | None = None,
) -> float:
    """Try candidates for the last layer; write card, weights and metrics.csv; return the best score.

    ``layer``: the last layer of ``model``.
    ``features``: its inputs for each window of the validation records; a record is the mean over its windows.
    ``candidates``: the value of ``setting``, weights (F, C) and bias (C,).
    ``extra``: for the card.

    Shapes: features (N, windows, F).
    """
    began = time.monotonic()
    activate = torch_forward(torch.nn.Identity(), data.task.activation)
    log = RunLogger(run.logs, config.run, config.to_json(), config.loggers)
    best: tuple[float, float] | None = None
    for index, (value, weight, bias) in enumerate(candidates):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
            logits = [layer(torch.from_numpy(window)).numpy() for window in features.swapaxes(0, 1)]
        windows = [activate(part) for part in logits]
        predictions = data.task.join(windows, [0] * len(windows), 0).astype(np.float32)
        scores = data.task.score(data.val.targets, predictions)
        score = selection_score(data.task, scores)
        row = {f"val_{data.task.select_on}": round(score, 6)}
        row |= {f"val_{name}": scores[name] for name in data.task.logged}
        if best is None or score > best[0]:
            best = score, value
            metrics = {"epoch": index + 1, setting: value, **row}
            provenance, more = provenance_of(config, made_from), {**(extra or {}), setting: value}
            options: dict[str, Any] = dict(model.config)
            card = make_card(data, "torch", options, predictions, metrics, provenance, more)
            write_checkpoint(run.folder, card, partial(save_file, model.state_dict()))
        seconds = round(time.monotonic() - began, 2)
        log.log({"epoch": index + 1, setting: value, **row, "seconds": seconds})
        logger.info(f"{setting} {value:8.3g}  val {selection_title(data.task)} {score:.4f}")
    log.close()
    assert best is not None
    logger.info(
        f"best: {setting} {best[1]:.3g}, {selection_title(data.task)} {best[0]:.4f} on {data.names[1]}"
    )
    return best[0]


def one_hot(data: TrainingData) -> np.ndarray:
    """Targets of the training records, (N, C)."""
    targets = np.asarray(data.train.targets)
    if targets.ndim == 2:
        return targets.astype(np.float64)
    return np.eye(len(data.task.classes))[targets]

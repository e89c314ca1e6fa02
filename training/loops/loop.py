"""The training loop of both frameworks: `train_model` drives an `Engine`, which knows one framework."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.batches import Batches
from training.config import TrainOptions
from training.loops.engine import Engine
from training.loops.recorder import OnEpoch, Recorder
from training.loops.schedule import learning_rate, momentum
from training.loops.stopper import Stopper
from training.predictor import Forward, forward_in_batches
from training.run import Run
from training.setup import TrainingData
from utils.seeds import seed_everything

LoadData = Callable[[Any, dict[str, Any] | None], TrainingData]


def train_model(
    engine: Engine, config: TrainOptions, load: LoadData, on_epoch: OnEpoch | None = None
) -> Path:
    """Train the model of a configuration and return its checkpoint folder."""
    engine.start(config)
    with Run.claim(config) as run:
        data = load(config, run.progress)
        if config.loss:
            data.task.choose_loss(config.loss, data.train.targets)
        seed_everything(config.seed)
        engine.build(config, data)
        run.check_parents(engine.made_from)
        if run.arrays is not None and run.progress is not None:
            engine.restore(run.arrays, run.progress["extra"])
        engine.on_first(run.clear)
        recorder = Recorder(run, config, data, engine, on_epoch)
        with recorder:
            with Stopper() as stopper:
                _train_epochs(engine, recorder, stopper)
            if engine.first:
                recorder.conclude(stopper.requested)
        engine.finish(stopper.requested and not recorder.finished)
    return run.folder


def _train_epochs(engine: Engine, recorder: Recorder, stopper: Stopper) -> None:
    config = recorder.config
    batches = engine.inputs.batches(config)
    if engine.first:
        recorder.introduce(*engine.introduction())
    # partial rather than lambda: the frame of a closure that raised keeps the model alive, see `processes`
    if recorder.run.progress is None:  # so that a kill in the first epoch, too, leaves something to resume
        engine.on_first(partial(recorder.save, engine.state()))
    while not recorder.finished and not engine.stop_requested(stopper):
        began = time.monotonic()
        if not _train_epoch(engine, batches, recorder, stopper):
            engine.on_first(partial(recorder.save, engine.state()))
            return
        state, seconds = engine.state(), time.monotonic() - began
        with engine.averaged():
            predictions = predict_validation(engine.forward(), engine.inputs, config)
            engine.on_first(partial(recorder.end_epoch, seconds, predictions, state))
        recorder.history = engine.shared(recorder.history)


def _train_epoch(engine: Engine, batches: Batches, recorder: Recorder, stopper: Stopper) -> bool:
    """Train from the next batch to the end of the epoch; False when interrupted before it."""
    config, history = recorder.config, recorder.history
    with history.bar(len(batches), shown=engine.first) as bar:
        for index in range(history.batch, len(batches)):
            step = history.epoch * len(batches) + index
            rate = learning_rate(config, step, len(batches), history.val_losses)
            moment = momentum(config, step, len(batches))
            loss, terms = engine.train_batch(*batches.batch(history.epoch, index), rate, moment)
            history.add(bar, loss, terms)
            if engine.stop_requested(stopper) and index + 1 < len(batches):
                history.batch = index + 1
                return False
    return True


def predict_validation(forward: Forward, data: TrainingData, config: TrainOptions) -> np.ndarray:
    """Predictions for the validation records, batch by batch, (N, ..., C)."""
    batches = Batches(data.val, data.standardizer, config.batchsize)
    rows = [
        forward_in_batches(forward, signals, config.crop, len(signals), data.task.join)
        for signals, _ in batches.epoch(0)
    ]
    return np.concatenate(rows)

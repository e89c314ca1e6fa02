"""Training of the Keras models."""

from __future__ import annotations

import logging
import shutil
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

import models_tf
from training.card import WEIGHTS
from training.config import TrainOptions
from training.keras_io import (
    copy_weights,
    has_gpu,
    keras_forward,
    keras_state,
    limit_threads,
    load_keras,
    restore_keras_state,
    save_weights,
)
from training.loops.engine import Engine, State
from training.loops.keras_optimizer import averages_in_place, build_optimizer, follow_momentum, set_momentum
from training.loops.loop import LoadData, train_model
from training.loops.recorder import OnEpoch
from training.predictor import Forward
from training.setup import TrainingData, follow_init, initial_checkpoint, load_training_data
from training.tasks import Task
from training.tasks.selection import check_output

logger = logging.getLogger(__name__)


class TaskLoss(keras.losses.Loss):
    """The loss of a task as Keras takes it: a scalar for a batch."""

    def __init__(self, task: Task, flood: float = 0.0):
        super().__init__(name="loss")
        self._function, self._flood = task.loss("keras"), flood

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        loss = self._function(y_pred, y_true)[0]
        return keras.ops.abs(loss - self._flood) + self._flood if self._flood else loss


def build_model(config: TrainOptions, data: TrainingData) -> keras.Model:
    """Build and compile the model of a run, and start it from ``--init`` where asked."""
    model = _create(config, data)
    check_output(data.task, model.output_shape[1:], data.output_shape(config), config.model)
    start = initial_checkpoint(config, "keras")
    if start:
        folder, card = start
        head = copy_weights(load_keras(folder / WEIGHTS["keras"], card)[0], model)
        logger.info(f"weights from {folder}, all but {', '.join(head)}")
    optimizer = build_optimizer(config, model)
    # XLA costs 1.6 times the CPU time here; on a GPU Keras decides by itself
    without_xla = keras.backend.backend() == "tensorflow" and not has_gpu()
    model.compile(optimizer, TaskLoss(data.task, config.flood), jit_compile=False if without_xla else "auto")
    optimizer.build(model.trainable_variables)
    if config.schedule == "one_cycle":
        follow_momentum(optimizer)
    return model


def _create(config: TrainOptions, data: TrainingData) -> keras.Model:
    options = {**data.sizes(config), "activation": data.task.activation}
    known = models_tf.model_options(config.model)
    options = {name: value for name, value in options.items() if name in known}
    return models_tf.create_model(config.model, **{**options, **config.model_config})


class KerasEngine(Engine):
    """A Keras model."""

    framework = "keras"

    def start(self, config: TrainOptions) -> None:
        limit_threads(config.threads)
        if keras.backend.backend() == "tensorflow" and not has_gpu():
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()

    def build(self, config: TrainOptions, data: TrainingData) -> None:
        self.inputs, self.extra = data, {}
        self._constant = config.schedule == "constant"
        keras.config.set_dtype_policy("mixed_bfloat16" if config.precision == "bf16" else "float32")
        try:
            self.model = build_model(config, data)
        finally:
            keras.config.set_dtype_policy("float32")  # models loaded later in this process stay exact

    def restore(self, arrays: dict[str, np.ndarray], extra: dict[str, Any]) -> None:
        restore_keras_state(self.model, arrays)

    def model_config(self) -> dict[str, Any]:
        return self.model.config

    def introduction(self) -> tuple[int, str]:
        return self.model.count_params(), _device()

    def train_batch(
        self, signals: np.ndarray, targets: np.ndarray, rate: float, momentum: float | None = None
    ) -> tuple[float, dict[str, float]]:
        # batch by batch rather than `model.fit`, whose generator thread can deadlock on the GIL at shutdown
        if not self._constant:
            self.model.optimizer.learning_rate = rate
        if momentum is not None:
            set_momentum(self.model.optimizer, momentum)
        self.model.reset_metrics()  # so that the loss is that of this batch, not a running mean
        return float(self.model.train_on_batch(signals, targets)), {}

    def averaged(self) -> AbstractContextManager[None]:
        return averages_in_place(self.model) if self.model.optimizer.use_ema else nullcontext()

    def forward(self) -> Forward:
        return keras_forward(self.model)

    def state(self) -> State:
        return keras_state(self.model), {}

    def save_weights(self, path: Path) -> None:
        save_weights(self.model, path)


def train_keras(
    config: TrainOptions, on_epoch: OnEpoch | None = None, load: LoadData = load_training_data
) -> Path:
    """Train a Keras model as `train.py` does."""
    return train_model(KerasEngine(), follow_init(config), load, on_epoch)


def _device() -> str:
    backend = keras.backend.backend()
    on_gpu = has_gpu()
    if backend == "tensorflow" and not on_gpu and shutil.which("nvidia-smi"):
        logger.info(
            "note: there is an NVIDIA GPU, but this TensorFlow does not see it: "
            f"pip install 'tensorflow[and-cuda]=={version('tensorflow')}', or set KERAS_BACKEND=torch"
        )
    return f"{backend} on {'GPU' if on_gpu else 'CPU'}"

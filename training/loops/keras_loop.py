"""Training of the Keras models: one plain loop, the twin of the one in `torch_loop`."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

import models_tf
from preprocessing.batches import Batches
from training.checkpoint import WEIGHTS, find_checkpoint, read_card
from training.config import TrainConfig
from training.keras_io import (
    copy_weights,
    keras_forward,
    keras_state,
    load_keras,
    restore_keras_state,
    save_weights,
)
from training.loops.recorder import OnEpoch, Recorder, Stopper
from training.loops.schedule import learning_rate
from training.predictor import forward_in_batches
from training.setup import (
    TrainingData,
    claim_run,
    clear_run,
    follow_init,
    load_training_data,
    thread_count,
)
from utils.errors import DataError
from utils.seeds import seed_everything


def _train_epoch(model: keras.Model, batches: Batches, recorder: Recorder, stopper: Stopper) -> bool:
    """Train from ``recorder.batch`` to the end of the epoch; False when interrupted before it.

    Batch by batch rather than `model.fit`: there TensorFlow pulls the batches through a generator of its own,
    which can wait for Python for ever when a run is stopped or ends on few threads.
    """
    config, epoch = recorder.config, recorder.epoch
    with recorder.bar(len(batches)) as bar:
        for index in range(recorder.batch, len(batches)):
            if config.schedule != "constant":
                step = epoch * len(batches) + index
                rate = learning_rate(config, step, len(batches), recorder.val_losses)
                model.optimizer.learning_rate = rate
            model.reset_metrics()  # so that the loss is that of this batch, not a running mean
            recorder.add(bar, float(model.train_on_batch(*batches.batch(epoch, index))))
            if stopper.requested and index + 1 < len(batches):
                recorder.batch = index + 1
                return False
    return True


def predict_validation(model: keras.Model, data: TrainingData, config: TrainConfig) -> np.ndarray:
    """Probabilities for the validation split, batch by batch.

    Returns shape (N, C).
    """
    batches = Batches(data.val, data.standardizer, config.batchsize)
    forward = keras_forward(model)
    return np.concatenate([forward_in_batches(forward, x, config.crop, len(x)) for x, _ in batches.epoch(0)])


def build_model(config: TrainConfig, data: TrainingData) -> keras.Model:
    """Build and compile the model of a run, and start it from ``--init`` where asked."""
    _, samples, leads = data.train.signals.shape
    options = {
        "num_classes": len(data.train.classes),
        "samples": config.crop or samples,
        "leads": leads,
        "activation": "sigmoid" if data.multilabel else "softmax",
    }
    model = models_tf.create_model(config.model, **{**options, **config.model_config})
    if config.init and not config.resume:  # a resumed run has its own weights
        folder = find_checkpoint(config.init, config.output_dir)
        card = read_card(folder)
        if card["framework"] != "keras" or card["model"]["name"] != config.model:
            raise DataError(f"--init {folder} holds '{card['model']['name']}', not a Keras '{config.model}'")
        kept = copy_weights(load_keras(folder / WEIGHTS["keras"], card)[0], model)
        print(f"weights from {folder}, all but {', '.join(kept)}")
    kind = keras.optimizers.AdamW if config.weight_decay else keras.optimizers.Adam
    decay = {"weight_decay": config.weight_decay} if config.weight_decay else {}
    optimizer = kind(config.lr, clipnorm=config.clip_norm or None, **decay)
    if config.weight_decay:  # biases and batch norm are not decayed
        optimizer.exclude_from_weight_decay(
            var_list=[v for v in model.trainable_variables if len(v.shape) < 2]
        )
    loss = keras.losses.BinaryCrossentropy() if data.multilabel else keras.losses.CategoricalCrossentropy()
    # XLA costs 1.6 times the CPU time here; on a GPU Keras decides by itself
    without_xla = keras.backend.backend() == "tensorflow" and not _has_gpu()
    model.compile(optimizer, loss, jit_compile=False if without_xla else "auto")
    optimizer.build(model.trainable_variables)
    return model


def train_keras(config: TrainConfig, on_epoch: OnEpoch | None = None) -> Path:
    """Train a Keras model as `train.py` does."""
    _set_up_device(config)
    config = follow_init(config)
    arrays, progress = claim_run(config)
    data = load_training_data(config, progress)
    seed_everything(config.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if config.precision == "bf16" else "float32")
    try:
        model = build_model(config, data)
    finally:
        keras.config.set_dtype_policy("float32")  # models loaded later in this process stay exact
    if arrays:
        restore_keras_state(model, arrays)
    clear_run(config)
    batches = data.batches(config)
    with Recorder(config, data, "keras", model.config, progress, on_epoch) as recorder, Stopper() as stopper:
        recorder.introduce(model.count_params(), _device())
        if not progress:  # so that a kill in the first epoch, too, leaves something to go on from
            recorder.save(keras_state(model))
        while not recorder.finished and not stopper.requested:
            began = time.monotonic()
            if not _train_epoch(model, batches, recorder, stopper):
                recorder.save(keras_state(model))
                break
            seconds = time.monotonic() - began
            probabilities = predict_validation(model, data, config)
            recorder.end_epoch(
                recorder.epoch, seconds, probabilities, partial(save_weights, model), keras_state(model)
            )
    recorder.conclude(stopper.requested)
    if stopper.requested and not recorder.finished:
        raise KeyboardInterrupt
    return recorder.folder


def _has_gpu() -> bool:
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _device() -> str:
    backend = keras.backend.backend()
    on_gpu = _has_gpu()
    if backend == "tensorflow" and not on_gpu and shutil.which("nvidia-smi"):
        print(
            "note: there is an NVIDIA GPU, but this TensorFlow does not see it: "
            f"pip install 'tensorflow[and-cuda]=={version('tensorflow')}', or set KERAS_BACKEND=torch"
        )
    return f"{backend} on {'GPU' if on_gpu else 'CPU'}"


def _set_up_device(config: TrainConfig) -> None:
    threads = thread_count(config)
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if threads != os.cpu_count():
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(2)
            except RuntimeError:  # a run started from Python, after TensorFlow has begun to compute
                print("note: TensorFlow is running already and keeps its number of threads")
        if not _has_gpu():
            tf.config.experimental.enable_op_determinism()

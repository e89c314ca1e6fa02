"""Training of the PyTorch models: one plain loop on Lightning Fabric."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch.nn import functional

import models_torch
from preprocessing.batches import Batches
from training.checkpoint import WEIGHTS, find_checkpoint, read_card
from training.config import TrainConfig
from training.loops.processes import end_others, is_first, on_first
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
from training.torch_io import copy_weights, read_weights, restore_torch_state, torch_forward, torch_state
from utils.errors import DataError
from utils.seeds import seed_everything

LossFunction = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]
]


def build_model(config: TrainConfig, data: TrainingData) -> torch.nn.Module:
    """Build the model of a run, and start it from ``--init`` where asked."""
    _, samples, leads = data.train.signals.shape
    options = {"num_classes": len(data.train.classes), "samples": config.crop or samples, "leads": leads}
    model = models_torch.create_model(config.model, **{**options, **config.model_config})
    if config.init and not config.resume:  # a resumed run has its own weights
        folder = find_checkpoint(config.init, config.output_dir)
        card = read_card(folder)
        if card["framework"] != "torch" or card["model"]["name"] != config.model:
            raise DataError(
                f"--init {folder} holds '{card['model']['name']}', not a PyTorch '{config.model}'"
            )
        kept = copy_weights(read_weights(folder / WEIGHTS["torch"]), model)
        print(f"weights from {folder}, all but {', '.join(kept)}")
    return model


def build_optimizer(config: TrainConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Adam, or AdamW that leaves biases and normalisation alone."""
    if not config.weight_decay:
        return torch.optim.Adam(model.parameters(), lr=config.lr)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def cross_entropy(
    multilabel: bool, model: torch.nn.Module, signals: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of a batch: the loss of every model that brings none of its own.

    Shapes: signals (B, T, leads), labels (B, C).
    """
    logits = model(signals).float()
    if multilabel:
        return functional.binary_cross_entropy_with_logits(logits, labels), {}
    return functional.cross_entropy(logits, labels), {}


@dataclass(frozen=True)
class Job:
    """What a run trains.

    ``model``: on the CPU; frozen parts do not require gradients.
    ``optimizer``: of its trainable parameters.
    ``loss``: ``loss(model, signals, labels) -> (loss, parts)``.
    ``card``: more for the card.
    ``inputs``: what the model reads, where that is not the signals of the run's data.
    ``weights``: gives the tensors to save, where those are not all of the model's.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss: LossFunction
    card: dict[str, Any] = field(default_factory=dict)
    inputs: TrainingData | None = None
    weights: Callable[[], dict[str, torch.Tensor]] | None = None


def prepare_classifier(config: TrainConfig, data: TrainingData) -> Job:
    """Model, optimiser and loss of a plain classifier."""
    model = build_model(config, data)
    return Job(model, build_optimizer(config, model), partial(cross_entropy, data.multilabel))


def _stop_requested(fabric: Fabric, stopper: Stopper) -> bool:
    """Whether any process was asked to stop: all of them must stop after the same batch."""
    if fabric.world_size > 1:
        asked = torch.tensor(float(stopper.requested), device=fabric.device)
        stopper.requested = bool(fabric.all_reduce(asked, reduce_op="sum") > 0)
    return stopper.requested


def _train_epoch(
    fabric: Fabric,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: LossFunction,
    batches: Batches,
    recorder: Recorder,
    stopper: Stopper,
) -> bool:
    """Train from ``recorder.batch`` to the end of the epoch; False when interrupted before it."""
    config, epoch = recorder.config, recorder.epoch
    model.train()
    with recorder.bar(len(batches), shown=is_first()) as bar:
        for index in range(recorder.batch, len(batches)):
            step = epoch * len(batches) + index
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, len(batches), recorder.val_losses)
            signals, labels = (torch.from_numpy(a) for a in batches.batch(epoch, index))
            # with several devices each takes its own rows of the same batch (all of one too small to share)
            shared = len(signals) >= fabric.world_size
            rows = slice(fabric.global_rank, None, fabric.world_size) if shared else slice(None)
            signals, labels = fabric.to_device((signals[rows], labels[rows]))
            optimizer.zero_grad(set_to_none=True)
            loss, parts = loss_function(model, signals, labels)
            fabric.backward(loss)
            if config.clip_norm:  # each tensor by itself, as Keras' clipnorm does
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        torch.nn.utils.clip_grad_norm_([parameter], config.clip_norm)
            optimizer.step()
            mean = float(fabric.all_reduce(loss.detach(), reduce_op="mean"))
            recorder.add(bar, mean, {name: float(value) for name, value in parts.items()})
            if _stop_requested(fabric, stopper) and index + 1 < len(batches):
                recorder.batch = index + 1
                return False
    return True


def train_torch(
    config: TrainConfig,
    on_epoch: OnEpoch | None = None,
    prepare: Callable[[TrainConfig, TrainingData], Job] = prepare_classifier,
    load: Callable[[TrainConfig, dict[str, Any] | None], TrainingData] = load_training_data,
) -> Path:
    """Train a PyTorch model as `torch_train.py` does."""
    torch.set_num_threads(thread_count(config))
    if prepare is prepare_classifier:  # what brings its own preparation reads its own options
        config = follow_init(config)
    arrays, progress = claim_run(config)
    data = load(config, progress)
    seed_everything(config.seed)
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    fabric = Fabric(accelerator="auto", devices=config.devices, precision=precision)
    fabric.launch()
    job = prepare(config, data)
    if progress and progress.get("made_from") != job.card.get("made_from"):
        raise DataError(
            f"run '{config.run}' was started from other weights than its earlier stage has now: "
            "use --overwrite"
        )
    plain = job.model
    model, optimizer = fabric.setup(plain, job.optimizer)
    if arrays and progress:  # after the move to the device, where the optimiser's state has to be too
        restore_torch_state(plain, optimizer, arrays, progress["extra"]["groups"])
    first = is_first()  # of several processes, the one that writes
    on_first(lambda: clear_run(config))
    config = dataclasses.replace(config, loggr=config.loggr and first)
    inputs, weights = job.inputs or data, job.weights or plain.state_dict
    batches, validation = inputs.batches(config), Batches(inputs.val, inputs.standardizer, config.batchsize)
    forward = torch_forward(plain, data.multilabel, fabric.device)

    def save_weights(path: Path) -> None:
        save_file({k: v.contiguous() for k, v in weights().items()}, path)

    with (
        Recorder(config, data, "torch", plain.config, progress, on_epoch, job.card) as recorder,
        Stopper() as stopper,
    ):
        if first:
            recorder.introduce(sum(p.numel() for p in plain.parameters()), f"PyTorch on {fabric.device}")
        if not progress:  # so that a kill in the first epoch, too, leaves something to go on from
            arrays, groups = torch_state(plain, optimizer)
            on_first(partial(recorder.save, arrays, {"groups": groups}))
        while not recorder.finished and not _stop_requested(fabric, stopper):
            began = time.monotonic()
            whole = _train_epoch(fabric, model, optimizer, job.loss, batches, recorder, stopper)
            arrays, groups = torch_state(plain, optimizer)
            extra = {"groups": groups}
            if not whole:
                on_first(partial(recorder.save, arrays, extra))
                break
            seconds = time.monotonic() - began
            parts = [forward_in_batches(forward, x, config.crop, len(x)) for x, _ in validation.epoch(0)]
            probabilities = np.concatenate(parts)
            end = partial(
                recorder.end_epoch, recorder.epoch, seconds, probabilities, save_weights, arrays, extra
            )
            on_first(end)
            recorder.share(fabric.broadcast(recorder.standing))
    if first:
        recorder.conclude(stopper.requested)
    fabric.barrier()  # a process that ends first would take the one that still writes with it
    if stopper.requested and not recorder.finished:
        end_others()
        raise KeyboardInterrupt
    return recorder.folder

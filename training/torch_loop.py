"""Training of the PyTorch models: one plain loop on Lightning Fabric."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch.nn import functional
from tqdm import tqdm

import models_torch
from preprocessing.batches import Batches
from training.checkpoint import WEIGHTS, find_checkpoint, read_card
from training.config import TrainConfig
from training.predictor import forward_in_batches
from training.recorder import Recorder, Stopper
from training.schedule import learning_rate
from training.setup import (
    TrainingData,
    claim_run,
    clear_run,
    follow_init,
    load_training_data,
    thread_count,
)
from training.torch_io import copy_weights, read_weights, restore_torch_state, torch_forward, torch_state
from utils.errors import DataError, TwelveLeadError
from utils.seeds import seed_everything


def build_model(config: TrainConfig, data: TrainingData) -> torch.nn.Module:
    """Build the model of a run, and start it from ``--init`` where asked.

    Parameters
    ----------
    config : TrainConfig
        The run.
    data : TrainingData
        Decides classes, leads and samples.

    Returns
    -------
    torch.nn.Module
        On the CPU.

    Raises
    ------
    DataError
        ``--init`` names another architecture.
    """
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
    """Adam, or AdamW that leaves biases and normalisation alone.

    Parameters
    ----------
    config : TrainConfig
        ``lr`` and ``weight_decay``.
    model : torch.nn.Module
        The model.

    Returns
    -------
    torch.optim.Optimizer
        Ready to use.
    """
    if not config.weight_decay:
        return torch.optim.Adam(model.parameters(), lr=config.lr)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def _loss(logits: torch.Tensor, labels: torch.Tensor, multilabel: bool) -> torch.Tensor:
    if multilabel:
        return functional.binary_cross_entropy_with_logits(logits.float(), labels)
    return functional.cross_entropy(logits.float(), labels)


def _stop_requested(fabric: Fabric, stopper: Stopper) -> bool:
    """Whether any process was asked to stop: all of them must stop after the same batch."""
    if fabric.world_size > 1:
        asked = torch.tensor(float(stopper.requested), device=fabric.device)
        stopper.requested = bool(fabric.all_reduce(asked, reduce_op="sum") > 0)
    return stopper.requested


def _on_first(fabric: Fabric, action: Callable[[], None]) -> None:
    """Let the first process do something; where it fails, all processes end instead of waiting for it."""
    failure: TwelveLeadError | None = None
    if fabric.is_global_zero:
        try:
            action()
        except TwelveLeadError as error:
            failure = error
    if fabric.broadcast(failure is not None):
        raise failure or TwelveLeadError("the first process stopped; its message says why")


def _train_epoch(
    fabric: Fabric, model, optimizer, batches: Batches, recorder: Recorder, stopper: Stopper
) -> bool:
    """Train from ``recorder.batch`` to the end of the epoch; False when interrupted before it."""
    config, epoch, losses = recorder.config, recorder.epoch, recorder.losses
    model.train()
    bar = tqdm(
        total=len(batches),
        initial=recorder.batch,
        desc=f"epoch {epoch + 1}",
        unit="batch",
        leave=False,
        disable=None if fabric.is_global_zero else True,
    )
    with bar:
        for index in range(recorder.batch, len(batches)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, epoch * len(batches) + index, len(batches))
            signals, labels = (torch.from_numpy(a) for a in batches.batch(epoch, index))
            # with several devices each takes its own rows of the same batch (all of one too small to share)
            shared = len(signals) >= fabric.world_size
            rows = slice(fabric.global_rank, None, fabric.world_size) if shared else slice(None)
            signals, labels = fabric.to_device((signals[rows], labels[rows]))
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(model(signals), labels, recorder.data.multilabel)
            fabric.backward(loss)
            if config.clip_norm:  # each tensor by itself, as Keras' clipnorm does
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        torch.nn.utils.clip_grad_norm_([parameter], config.clip_norm)
            optimizer.step()
            losses.append(float(fabric.all_reduce(loss.detach(), reduce_op="mean")))
            bar.update()
            bar.set_postfix(loss=f"{np.mean(losses):.4f}")
            if _stop_requested(fabric, stopper) and index + 1 < len(batches):
                recorder.batch = index + 1
                return False
    return True


def train_torch(config: TrainConfig) -> Path:
    """Train a PyTorch model as `torch_train.py` does.

    Parameters
    ----------
    config : TrainConfig
        The run.

    Returns
    -------
    pathlib.Path
        The checkpoint folder.

    Raises
    ------
    TwelveLeadError
        Bad usage or data, divergence, a full disk; what was saved before stays.
    """
    torch.set_num_threads(thread_count(config))
    config = follow_init(config)
    arrays, progress = claim_run(config)
    data = load_training_data(config)
    if progress and progress["fingerprint"] != data.fingerprint:
        raise DataError(
            f"{config.data_dir} is not the data that run '{config.run}' was started on: use --overwrite"
        )
    seed_everything(config.seed)
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    fabric = Fabric(accelerator="auto", devices=config.devices, precision=precision)
    fabric.launch()
    plain = build_model(config, data)
    model_config = plain.config
    optimizer = build_optimizer(config, plain)
    model, optimizer = fabric.setup(plain, optimizer)
    if arrays and progress:  # after the move to the device, where the optimiser's state has to be too
        restore_torch_state(plain, optimizer, arrays, progress["extra"]["groups"])
    first = fabric.is_global_zero  # the first process of several writes
    _on_first(fabric, lambda: clear_run(config))
    config = dataclasses.replace(config, loggr=config.loggr and first)
    recorder = Recorder(config, data, "torch", model_config, progress)
    parameters = sum(p.numel() for p in plain.parameters())
    fabric.print(f"{config.model}: {parameters:,} parameters on {fabric.device}, run '{config.run}'")
    if progress:
        fabric.print(
            f"resumed at epoch {recorder.epoch + 1}" + (f", batch {recorder.batch}" if recorder.batch else "")
        )
    batches, validation = data.batches(config), Batches(data.val, data.standardizer, config.batchsize)
    forward = torch_forward(plain, data.multilabel, fabric.device)

    def save_weights(path: Path) -> None:
        save_file({k: v.contiguous() for k, v in plain.state_dict().items()}, path)

    if not progress:  # so that a kill in the first epoch, too, leaves something to go on from
        arrays, groups = torch_state(plain, optimizer)
        _on_first(fabric, partial(recorder.save, arrays, {"groups": groups}))
    with Stopper() as stopper:
        while not recorder.finished and not _stop_requested(fabric, stopper):
            began = time.monotonic()
            whole = _train_epoch(fabric, model, optimizer, batches, recorder, stopper)
            arrays, groups = torch_state(plain, optimizer)
            extra = {"groups": groups}
            if not whole:
                _on_first(fabric, partial(recorder.save, arrays, extra))
                break
            seconds = time.monotonic() - began
            parts = [forward_in_batches(forward, x, config.crop, len(x)) for x, _ in validation.epoch(0)]
            probabilities = np.concatenate(parts)
            end = partial(
                recorder.end_epoch, recorder.epoch, seconds, probabilities, save_weights, arrays, extra
            )
            _on_first(fabric, end)
            recorder.epoch, recorder.best_epoch = fabric.broadcast((recorder.epoch, recorder.best_epoch))
            recorder.batch, recorder.losses = 0, []
    if first:
        if stopper.requested and not recorder.finished:
            recorder.interrupted()
        recorder.close()
    fabric.barrier()  # a process that ends first would take the one that still writes with it
    if stopper.requested and not recorder.finished:
        raise KeyboardInterrupt
    return recorder.folder

"""Training of the PyTorch models on Lightning Fabric."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from safetensors.torch import save_file

import models_torch
from training.card import WEIGHTS
from training.config import TrainOptions
from training.loops.engine import Engine, State
from training.loops.history import History
from training.loops.loop import LoadData, train_model
from training.loops.processes import end_others, is_first, on_first
from training.loops.recorder import OnEpoch
from training.loops.stopper import Stopper
from training.loops.torch_optimizer import (
    WeightAverage,
    build_optimizer,
    clip_gradients,
    flooded,
    set_rates,
)
from training.predictor import Forward
from training.setup import TrainingData, follow_init, initial_checkpoint, load_training_data
from training.tasks import Task
from training.tasks.selection import check_output
from training.torch_io import copy_weights, read_weights, restore_torch_state, torch_forward, torch_state
from utils.threads import thread_count

logger = logging.getLogger(__name__)

LossFunction = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]
]


@dataclass(frozen=True)
class Job:
    """What a run trains.

    ``model``: on the CPU; frozen parts do not require gradients.
    ``optimizer``: of its trainable parameters.
    ``loss``: ``loss(model, signals, targets) -> (loss, terms)``.
    ``extra``: more for the card; ``made_from``: SHA-256 of the weights of earlier stages.
    ``inputs``: what the model reads, where that is not the signals of the run's data.
    ``weights``: gives the tensors to save, where those are not all of the model's.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss: LossFunction
    extra: dict[str, Any] = field(default_factory=dict)
    made_from: list[str] | None = None
    inputs: TrainingData | None = None
    weights: Callable[[], dict[str, torch.Tensor]] | None = None


Prepare = Callable[[Any, TrainingData], Job]


def build_model(config: TrainOptions, data: TrainingData) -> torch.nn.Module:
    """Build the model of a run, and start it from ``--init`` where asked."""
    model = models_torch.create_model(config.model, **{**data.sizes(config), **config.model_config})
    start = initial_checkpoint(config, "torch")
    if start:
        head = copy_weights(read_weights(start[0] / WEIGHTS["torch"]), model)
        logger.info(f"weights from {start[0]}, all but {', '.join(head)}")
    return model


def task_loss(task: Task) -> LossFunction:
    """Default loss of a model: that of its task, on the logits."""
    function = task.loss("torch")
    return lambda model, signals, targets: function(model(signals).float(), targets)


def sequence_loss(
    model: torch.nn.Module, signals: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss of a model that learns sequences: its own, the likelihood of all classes together."""
    return model.sequence_loss(signals, targets), {}


def prepare_classifier(config: TrainOptions, data: TrainingData) -> Job:
    """Model, optimizer and loss of a plain model."""
    model = build_model(config, data)
    own = getattr(model, "learns_sequences", False)
    return Job(model, build_optimizer(config, model), sequence_loss if own else task_loss(data.task))


class TorchEngine(Engine):
    """A PyTorch model, in one process or several."""

    framework = "torch"

    def __init__(self, prepare: Prepare):
        self._prepare = prepare

    def start(self, config: TrainOptions) -> None:
        torch.set_num_threads(thread_count(config.threads))

    def build(self, config: TrainOptions, data: TrainingData) -> None:
        precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
        # one process is never one of several of a SLURM job, whatever the variables of the job say
        plugins = LightningEnvironment() if config.devices == 1 else None
        self._fabric = Fabric(
            accelerator="auto", devices=config.devices, precision=precision, plugins=plugins
        )
        self._fabric.launch()  # the other processes
        job = self._prepare(config, data)
        self.extra, self.made_from, self.inputs = job.extra, job.made_from, job.inputs or data
        self.first, self._config, self._waiting = is_first(), config, 0
        self._plain, self._loss = job.model, job.loss
        self._weights = job.weights or job.model.state_dict
        self._check_output(config)
        self._model, self._optimizer = self._fabric.setup(job.model, job.optimizer)
        if getattr(job.model, "learns_sequences", False):
            self._model.mark_forward_method("sequence_loss")
        self._model.train()
        self._average = WeightAverage(self._plain, config.ema) if config.ema else None

    def _check_output(self, config: TrainOptions) -> None:
        data = self.inputs
        signals = data.standardizer(data.train.signals[:1])[:, : config.crop or None]
        output = torch_forward(self._plain, data.task.activation)(signals)
        check_output(data.task, output.shape[1:], data.output_shape(config), self._plain.config["name"])

    def restore(self, arrays: dict[str, np.ndarray], extra: dict[str, Any]) -> None:
        restore_torch_state(self._plain, self._optimizer, arrays, extra["groups"])
        device = self._fabric.device
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "average" and self._average:
                self._average.tensors[name] = torch.from_numpy(array).to(device)
            elif kind == "gradient":
                self._plain.get_parameter(name).grad = torch.from_numpy(array).to(device)
        self._waiting = extra.get("waiting", 0)

    def model_config(self) -> dict[str, Any]:
        return self._plain.config

    def introduction(self) -> tuple[int, str]:
        return sum(p.numel() for p in self._plain.parameters()), f"PyTorch on {self._fabric.device}"

    def train_batch(
        self, signals: np.ndarray, targets: np.ndarray, rate: float, momentum: float | None = None
    ) -> tuple[float, dict[str, float]]:
        # of several devices each takes its rows of the batch, or all of one that is too small to share
        fabric, config = self._fabric, self._config
        set_rates(self._optimizer, rate, momentum)
        shared = len(signals) >= fabric.world_size
        rows = slice(fabric.global_rank, None, fabric.world_size) if shared else slice(None)
        batch = tuple(torch.from_numpy(array)[rows] for array in (signals, targets))
        if not self._waiting:
            self._optimizer.zero_grad(set_to_none=True)
        loss, terms = self._loss(self._model, *fabric.to_device(batch))
        loss = flooded(loss, config.flood)
        fabric.backward(loss / config.accumulate if config.accumulate > 1 else loss)
        self._waiting = (self._waiting + 1) % config.accumulate
        if not self._waiting:
            clip_gradients(self._plain, config.clip_norm, config.clip_total)
            self._optimizer.step()
        if self._average:
            self._average.update()
        mean = float(fabric.all_reduce(loss.detach(), reduce_op="mean"))
        return mean, {name: float(value) for name, value in terms.items()}

    def averaged(self) -> AbstractContextManager[None]:
        return self._average.in_place() if self._average else nullcontext()

    def forward(self) -> Forward:
        return torch_forward(self._plain, self.inputs.task.activation, self._fabric.device)

    def state(self) -> State:
        arrays, groups = torch_state(self._plain, self._optimizer)
        further = {f"average/{n}": t for n, t in self._average.tensors.items()} if self._average else {}
        if self._waiting:  # for the batches that complete the step
            named = self._plain.named_parameters()
            further |= {f"gradient/{name}": p.grad for name, p in named if p.grad is not None}
        arrays |= {key: tensor.detach().cpu().numpy().copy() for key, tensor in further.items()}
        return arrays, {"groups": groups} | ({"waiting": self._waiting} if self._waiting else {})

    def save_weights(self, path: Path) -> None:
        save_file({key: tensor.contiguous() for key, tensor in self._weights().items()}, path)

    def stop_requested(self, stopper: Stopper) -> bool:
        if self._fabric.world_size > 1:
            # all of them must stop after the same batch
            asked = torch.tensor(float(stopper.requested), device=self._fabric.device)
            stopper.requested = bool(self._fabric.all_reduce(asked, reduce_op="sum") > 0)
        return stopper.requested

    def on_first(self, action: Callable[[], object]) -> None:
        on_first(action)

    def shared(self, history: History) -> History:
        received = self._fabric.broadcast(history)
        return history if self.first else received

    def finish(self, interrupted: bool) -> None:
        self._fabric.barrier()  # a process that ends first would take one that still writes with it
        if interrupted:
            end_others()
        super().finish(interrupted)


def train_torch(
    config: TrainOptions,
    on_epoch: OnEpoch | None = None,
    prepare: Prepare = prepare_classifier,
    load: LoadData = load_training_data,
) -> Path:
    """Train a plain PyTorch model as `torch_train.py` does; ``prepare`` builds its job."""
    return train_model(TorchEngine(prepare), follow_init(config), load, on_epoch)


def train_job(config: TrainOptions, prepare: Prepare, on_epoch: OnEpoch | None = None) -> Path:
    """Train a model that handles ``--init`` itself."""
    return train_model(TorchEngine(prepare), config, load_training_data, on_epoch)

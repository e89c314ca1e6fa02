"""Optimizers of PyTorch models, and the moving average of their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from training.config import TrainOptions


class SGDW(torch.optim.SGD):
    """SGD with decoupled weight decay: Loshchilov and Hutter, 2017, arXiv:1711.05101, without a schedule.

    A group's ``decay`` is its weight decay; PyTorch's own ``weight_decay`` would enter the momentum.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            if group.get("decay"):
                trained = [p for p in group["params"] if p.grad is not None]
                torch._foreach_mul_(trained, 1 - group["lr"] * group["decay"])
        return super().step(closure)


def build_optimizer(config: TrainOptions, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Optimizer of a run; weight decay leaves biases and normalization alone."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    if config.optimizer == "sgd":
        groups = [{"params": decayed, "decay": config.weight_decay}, {"params": others}]
        nesterov = config.nesterov and config.momentum > 0
        return SGDW(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    options = {"lr": config.lr, "betas": (0.9, config.beta2), "amsgrad": config.optimizer == "amsgrad"}
    if not config.weight_decay:
        return torch.optim.Adam(model.parameters(), **options)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, **options)


def set_rates(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """Set learning rate and, where given, momentum or beta1 of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum


def clip_gradients(model: torch.nn.Module, each: float, total: float) -> None:
    """Limit the norm of each gradient by itself, as Keras' clipnorm does, or of all together."""
    trained = [p for p in model.parameters() if p.grad is not None]
    for parameter in trained if each else ():
        torch.nn.utils.clip_grad_norm_([parameter], each)
    if total:
        torch.nn.utils.clip_grad_norm_(trained, total)


def flooded(loss: torch.Tensor, level: float) -> torch.Tensor:
    """Keep a loss above a level: Ishida et al., ICML 2020, arXiv:2002.08709."""
    return (loss - level).abs() + level if level else loss


class WeightAverage:
    """Exponential moving average of the trainable weights of a model; running statistics are not averaged.

    ``tensors``: averages by name; empty before the first update, which copies the weights.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._decay = decay
        self.tensors: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights up into the averages."""
        if not self.tensors:
            self.tensors = {name: p.detach().clone() for name, p in self._trained.items()}
            return
        weights = [self._trained[name] for name in self.tensors]
        torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - self._decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages are the model's weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, average in self.tensors.items():
            parameter = self._trained[name]
            self.tensors[name], parameter.data = parameter.data, average

"""PyTorch weights and state in and out of files (safetensors, never pickle)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import models_torch
from training.card import Card, build
from training.predictor import Forward
from training.tasks import create_task
from utils.errors import DataError
from utils.text import short_reason
from utils.threads import thread_count

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: torch.softmax(logits, dim=-1),
    "linear": lambda logits: logits,
}


def torch_forward(model: torch.nn.Module, activation: str, device: torch.device | str = "cpu") -> Forward:
    """The model in inference mode as a function from signals to predictions."""
    activate = _ACTIVATIONS[activation]

    def forward(batch: np.ndarray) -> np.ndarray:
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(torch.from_numpy(batch).to(device)).float()
            result = activate(logits).cpu().numpy()
        model.train(was_training)
        return result

    return forward


def limit_threads(asked: int = 0) -> None:
    """Use as many CPU threads as asked, and otherwise no more than this process may use."""
    count = thread_count(asked)
    if asked or count < torch.get_num_threads():
        torch.set_num_threads(count)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is not a readable safetensors file ({short_reason(error)})") from error


def load_torch(path: Path, card: Card) -> tuple[torch.nn.Module, Forward]:
    """Build the model of a card and load its weights, on the GPU where there is one."""
    model = build(models_torch.create_model, card, path)
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = short_reason(error)
        raise DataError(f"{path} does not hold the weights of '{card.name}': {reason}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    return model, torch_forward(model, create_task(card.kind, card.classes).activation, device)


def copy_weights(source: dict[str, torch.Tensor], target: torch.nn.Module) -> list[str]:
    """Copy every weight but the head's into a model of the same architecture."""
    state = target.state_dict()
    head = [name for name in state if name.startswith("head.")]
    copied = {name: tensor for name, tensor in source.items() if name not in head}
    if set(copied) | set(head) != set(state) or any(state[n].shape != t.shape for n, t in copied.items()):
        raise DataError("--init: those weights belong to another architecture; it needs the same model")
    target.load_state_dict(copied | {name: state[name] for name in head})
    return head


def torch_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, np.ndarray], str]:
    """Weights, optimizer state and random state as plain arrays."""
    state = optimizer.state_dict()
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return {key: t.detach().cpu().numpy() for key, t in tensors.items()}, json.dumps(state["param_groups"])


def restore_torch_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray], groups: str
) -> None:
    """Restore what `torch_state` returned."""
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        kind, name = key.split("/", 1)
        if kind == "model":
            weights[name] = torch.from_numpy(array)
        elif kind == "optimizer":
            index, field = name.split("/")
            state.setdefault(int(index), {})[field] = torch.from_numpy(array)
    try:
        model.load_state_dict(weights)
        optimizer.load_state_dict({"state": state, "param_groups": json.loads(groups)})
    except (RuntimeError, ValueError) as error:
        raise DataError("the saved state is not one of this model and optimizer: use --overwrite") from error
    torch.set_rng_state(torch.from_numpy(arrays["random/cpu"]))
    if torch.cuda.is_available() and "random/cuda" in arrays:
        torch.cuda.set_rng_state(torch.from_numpy(arrays["random/cuda"]))

"""Parameter randomization: permute a trained model's weights, layer by layer, and restore them.

A map that explains a model must change when the model's weights do. The weights of a group of layers are
replaced by a random permutation of themselves, tensor by tensor. Unlike a fresh draw from the initializer,
this keeps the mean, the standard deviation and the sign of the values (variances stay positive, deep networks
neither vanish nor explode) and needs no knowledge of how a layer was initialized, so that it is the same test
for every architecture and both frameworks. The positions of the values, which training learned, are lost.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from utils.errors import TwelveLeadError

MOST_GROUPS = 6


@dataclass(frozen=True, eq=False)
class Group:
    """Layers that are randomized together.

    ``name``: ``head``, ``layer4`` ... ``layer1``, ``stem``, or ``part5`` ... ``part1``: counted
        from the input.
    ``index``: position from the head down, 0 for the head; decides the permutations, with the seed.
    ``layers``: names of the layers in the model.
    ``tensors``: their parameters and batch-norm statistics, not copies.
    """

    name: str
    index: int
    layers: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]


def layer_groups(module: nn.Module) -> list[Group]:
    """Group a model's layers from the head down to the first.

    A network with stages ``layer1``, ``layer2``, ... has the groups head, the stages and stem. In any other
    the layer named head, or the last one, is the head; the other layers, in the order of the model, form five
    parts of equally many layers.
    """
    layers = _layers_with_parameters(module)
    if not layers:
        raise TwelveLeadError(f"{type(module).__name__} has no parameters to randomize")
    heads = [i for i, (name, _) in enumerate(layers) if name.split(".")[-1] == "head"]
    head = layers[heads[-1] if heads else -1]
    body = [layer for layer in layers if layer is not head]
    stages = [re.search(r"(?:^|\.)(layer\d+)(?:\.|$)", name) for name, _ in body]
    if any(stages):
        # layers before the first stage are the stem; those between stages belong to the stage before
        names, current = [], "stem"
        for stage in stages:
            current = stage[1] if stage else current
            names.append(current)
    else:
        parts = min(MOST_GROUPS - 1, len(body))
        names = [f"part{1 + i * parts // len(body)}" for i in range(len(body))]
    named: dict[str, list[tuple[str, list[torch.Tensor]]]] = {"head": [head]}
    for name, layer in zip(reversed(names), reversed(body), strict=True):
        named.setdefault(name, []).insert(0, layer)
    return [
        Group(name, i, tuple(n for n, _ in group), tuple(t for _, tensors in group for t in tensors))
        for i, (name, group) in enumerate(named.items())
    ]


def _layers_with_parameters(module: nn.Module) -> list[tuple[str, list[torch.Tensor]]]:
    """Layers that have parameters, in the order of the model; a shared tensor counts once."""
    keras = sys.modules.get("keras")
    listed: list[tuple[str, list[torch.Tensor]]] = []
    for name, part in module.named_modules():
        if keras is not None and isinstance(part, keras.Model):
            # PyTorch sees one unordered dictionary of parameters of such a model
            listed += [(layer.name, [v.value for v in layer.weights]) for layer in part.layers]
        else:
            listed.append((name, [*part.parameters(recurse=False), *_statistics(part)]))
    seen: set[int] = set()
    layers = []
    for name, tensors in listed:
        new = [t for t in tensors if t.is_floating_point() and id(t) not in seen]
        seen.update(map(id, new))
        if new:
            layers.append((name, new))
    return layers


def _statistics(part: nn.Module) -> list[torch.Tensor]:
    """Running mean and variance of a batch norm."""
    tensors = (getattr(part, name, None) for name in ("running_mean", "running_var"))
    return [t for t in tensors if isinstance(t, torch.Tensor)]


@contextlib.contextmanager
def randomized(groups: Sequence[Group], seed: int = 0) -> Iterator[None]:
    """Permute the values of every tensor of these groups, and restore them bit for bit afterwards.

    Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292.
    """
    saved = [(tensor, tensor.detach().clone()) for group in groups for tensor in group.tensors]
    try:
        with torch.no_grad():
            for group in groups:
                random = np.random.default_rng([seed, group.index])
                for tensor in group.tensors:
                    order = torch.from_numpy(random.permutation(tensor.numel())).to(tensor.device)
                    tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
        yield
    finally:
        with torch.no_grad():
            for tensor, values in saved:
                tensor.copy_(values)

"""Early layers computed once for the hundreds of masked versions of a window that LIME and KernelSHAP need.

The output of an early layer at one position depends only on the few segments around it. With w segments in
sight that position has 2^w versions, however many masks there are: they are computed once, by 2^w masks that
repeat along the signal, and the output for every mask is put together from them. Only the later layers run
for each mask.

Which layer to cut at, and how far it sees, is measured on the model; a cut is used only if the outputs stay
the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_GAIN = 4  # a position must have this many times fewer versions than there are masks
_MEMORY = 256e6  # bytes of all versions
_TOLERANCE = 1e-5  # of the logits, relative to the largest one
_PROBED = 16  # samples: more than the stride of an early layer


class _Enough(Exception):
    """The layer of interest has been computed."""


@dataclass(frozen=True)
class SharedLayers:
    """A model cut in two behind a layer that sees few segments.

    ``model``: (B, T, leads) -> (B, C).
    ``layer``: part of it; all that follows depends on its output alone.
    ``segments``: segments of a lead.
    ``first`` (positions,): first segment of a lead that each position of the output sees.
    ``width``: segments it sees, at most.
    """

    model: nn.Module
    layer: nn.Module
    segments: int
    first: Tensor
    width: int

    def table(self, signal: Tensor, ids: Tensor, batch_size: int) -> Tensor:
        """Versions of the layer's output.

        Shapes: signal (T, leads), ids (T, leads) -> (2^width, rows, positions, channels).
        """
        versions = torch.arange(2**self.width, device=signal.device)
        bits = versions[:, None] >> (torch.arange(self.segments, device=signal.device) % self.width) & 1
        bits = bits.repeat(1, ids.shape[1])
        parts = [_output_of(self.model, self.layer, signal * mask[:, ids]) for mask in bits.split(batch_size)]
        return _channels_last(torch.cat(parts)).contiguous()

    def logits(self, table: Tensor, dummy: Tensor, masks: Tensor) -> Tensor:
        """Logits of masked versions of a window.

        Shapes: dummy (1, T, leads), masks (n, leads x segments) -> (n, C).
        """
        rows, positions, channels = table.shape[1:]
        device = table.device
        by_lead = masks.unflatten(1, (rows, self.segments)).long()
        bits = by_lead << (torch.arange(self.segments, device=device) % self.width)
        sums = nn.functional.pad(bits.cumsum(2), (1, 0))
        last = (self.first + self.width).clamp(max=self.segments)
        version = sums[:, :, last] - sums[:, :, self.first]  # (n, rows, positions)
        position = torch.arange(rows * positions, device=device).view(rows, positions)
        index = (version * rows * positions + position).flatten()
        output = table.view(-1, channels).index_select(0, index).view(len(masks), rows, positions, channels)
        output = output.movedim(-1, 1)
        with _replaced(self.layer, lambda given: output if given.ndim == 4 else output[:, :, 0]):
            return self.model(dummy)


def share_layers(module: nn.Module, model: nn.Module, ids: Tensor, count: int) -> SharedLayers | None:
    """Find the deepest layer whose versions are few; ids (T, leads)."""
    samples, leads = ids.shape
    if samples < 4 * _PROBED:
        return None
    probe = torch.randn(2, samples, leads, generator=torch.Generator().manual_seed(1)).to(ids.device)
    candidates = []
    with torch.inference_mode():
        for name, sight in _sights(module, samples, leads).items():
            start = torch.arange(sight.positions, device=ids.device) * sight.stride
            first = ids[(start - sight.before).clamp(0, samples - 1), 0]
            last = ids[(start + sight.after).clamp(0, samples - 1), 0]
            width = int((last - first).max()) + 1
            few = width < 20 and 2**width * max(_GAIN / count, sight.bytes / _MEMORY) <= 1
            if few and sight.stride <= _PROBED:
                layer = model.get_submodule(name)
                candidates.append(SharedLayers(model, layer, int(ids[-1, 0]) + 1, first, width))
        for shared in reversed(candidates):
            if _answers_alike(shared, probe, ids):
                return shared
    return None


class _Sight(NamedTuple):
    """Samples that position p of an output sees: from stride * p - before to stride * p + after."""

    positions: int
    stride: int
    before: int
    after: int
    bytes: int  # of the output for one signal


def _sights(module: nn.Module, samples: int, leads: int) -> dict[str, _Sight]:
    """Layers in the order of computation; NaN in a sample shows in all positions that see it."""
    middle = samples // 2
    device = next(module.parameters()).device
    rows = torch.arange(_PROBED, device=device)
    spoiled = torch.zeros(_PROBED, samples, leads, device=device)
    spoiled[rows, middle + rows] = torch.nan
    seen: dict[str, list[tuple[Tensor, int]]] = {}

    def look(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4) and len(output) == _PROBED:
            spoiled_positions = _channels_last(output).isnan().any(dim=3).any(dim=1)
            seen.setdefault(name, []).append((spoiled_positions, output[0].numel()))

    with contextlib.ExitStack() as hooks:
        for name, part in module.named_modules():
            if name:
                hook = part.register_forward_hook(lambda _m, _x, y, name=name: look(name, y))
                hooks.callback(hook.remove)
        module(spoiled)
    sights = {}
    for name, ((spoiled_positions, numbers), *more) in seen.items():
        positions = spoiled_positions.shape[1]
        stride = max(1, round(samples / positions))
        row, position = torch.nonzero(spoiled_positions, as_tuple=True)
        if not more and len(row):  # a layer that is used twice cannot be cut at
            offset = middle + row - position * stride
            before, after = max(0, -int(offset.min())), max(0, int(offset.max()))
            sights[name] = _Sight(positions, stride, before, after, 4 * numbers)
    return sights


def _answers_alike(shared: SharedLayers, probe: Tensor, ids: Tensor) -> bool:
    """Whether the cut model gives the logits of the whole one."""
    random = torch.Generator().manual_seed(2)
    masks = torch.rand(8, int(ids.max()) + 1, generator=random).to(ids.device) < 0.5
    expected = shared.model(probe[0] * masks[:, ids])
    try:
        given = shared.logits(shared.table(probe[0], ids, 32), probe[1:], masks)
    except (RuntimeError, IndexError):  # the layers behind want something else than this output
        return False
    error = (given - expected).abs().max() if given.shape == expected.shape else torch.inf
    return bool(error <= _TOLERANCE * expected.abs().max())


def _output_of(model: nn.Module, layer: nn.Module, signals: Tensor) -> Tensor:
    """Run a model up to a layer."""
    outputs: list[Tensor] = []

    def stop(output: Tensor) -> Tensor:
        outputs.append(output)
        raise _Enough

    with contextlib.suppress(_Enough), _replaced(layer, stop):
        model(signals)
    return outputs[0]


@contextlib.contextmanager
def _replaced(layer: nn.Module, change: Any) -> Iterator[None]:
    """Change the output of a layer while the block runs."""
    hook = layer.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        yield
    finally:
        hook.remove()


def _channels_last(output: Tensor) -> Tensor:
    """(B, channels, [rows,] positions) to (B, rows, positions, channels)."""
    return (output if output.ndim == 4 else output[:, :, None]).movedim(1, -1)

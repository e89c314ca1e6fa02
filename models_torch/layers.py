"""What the PyTorch models share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from utils.errors import DataError


def channels_first(signals: Tensor, samples: int, leads: int, model: str) -> Tensor:
    """Check a batch of signals and give it PyTorch's layout.

    Shapes: signals (B, samples, leads) -> (B, leads, samples).
    """
    if signals.ndim != 3 or signals.shape[1:] != (samples, leads):
        raise DataError(
            f"{model} was built for signals of shape (batch, {samples} samples, {leads} leads) but got "
            f"{tuple(signals.shape)}: bring the recordings to that length, sampling rate and lead order"
        )
    return signals.transpose(1, 2)


@contextlib.contextmanager
def recorded(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep the outputs of modules, by name, of a forward pass made inside the block."""
    outputs: dict[str, Tensor] = {}
    with contextlib.ExitStack() as hooks:
        for name in names:
            hook = model.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: outputs.__setitem__(name, output)
            )
            hooks.callback(hook.remove)
        yield outputs


class LSTM(nn.LSTM):
    """An LSTM whose forward pass runs on one CPU thread.

    With several they meet at a barrier in each time step, which takes longer than the step itself.
    """

    def forward(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        threads = torch.get_num_threads()
        if threads == 1 or torch.compiler.is_compiling():
            return super().forward(x, hx)
        torch.set_num_threads(1)
        try:
            return super().forward(x, hx)
        finally:
            torch.set_num_threads(threads)

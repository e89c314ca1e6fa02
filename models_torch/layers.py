"""What the PyTorch models share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from utils.errors import DataError


def channels_first(signals: Tensor, samples: int, leads: int, model: str, given: bool = False) -> Tensor:
    """Check a batch of signals and give it PyTorch's layout, which it has already if `given`.

    Shapes: signals (B, samples, leads) -> (B, leads, samples).
    """
    expected = {"samples": samples, "leads": leads}
    names = ("leads", "samples") if given else ("samples", "leads")
    if signals.ndim != 3 or signals.shape[1:] != tuple(expected[name] for name in names):
        shape = ", ".join(f"{expected[name]} {name}" for name in names)
        raise DataError(
            f"{model} was built for signals of shape (batch, {shape}) but got "
            f"{tuple(signals.shape)}: bring the recordings to that length, sampling rate and lead order"
        )
    return signals if given else signals.transpose(1, 2)


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


def image(signals: Tensor, samples: int, leads: int, model: str) -> Tensor:
    """Check signals (B, samples, leads) and make them an image of one row, (B, leads, 1, samples).

    The leads stay innermost in memory, and with them the channels of every layer that follows. So laid out,
    convolutions take a sixth less time on a CPU than those of `nn.Conv1d`, long ones half, and pooling a
    fifth of it.
    """
    return channels_first(signals, samples, leads, model)[:, :, None]


def convolution(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """Convolution along the time of an image; padding is half the kernel if not given.

    A strided kernel of 1 reads the columns it needs from a view: the gradient of PyTorch's own overruns its
    memory with few channels (2.13, channels innermost).
    """
    padding = kernel // 2 if padding is None else padding
    if kernel == 1 and stride > 1:
        return nn.Sequential(EveryColumn(stride), nn.Conv2d(channels_in, channels_out, 1, bias=bias))
    return nn.Conv2d(
        channels_in, channels_out, (1, kernel), (1, stride), (0, padding), groups=groups, bias=bias
    )


class EveryColumn(nn.Module):
    """Every `stride`-th column of an image."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :: self.stride]


class ConcatPool(nn.Module):
    """Maximum and mean over an image: (B, channels, 1, columns) -> (B, 2 channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1)


def benchmark_neck(channels: int, units: int, dropout: float) -> nn.Sequential:
    """What lies between the pooled features and the last layer in the models of the PTB-XL benchmark.

    Batch norm and dropout in front of each of the two linear layers, half the dropout in front of the first.

    Strodthoff et al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL", IEEE Journal of
    Biomedical and Health Informatics 25(5), 2021, doi:10.1109/JBHI.2020.3022989.
    """
    return nn.Sequential(
        nn.BatchNorm1d(channels),
        nn.Dropout(dropout / 2),
        nn.Linear(channels, units),
        nn.ReLU(),
        nn.BatchNorm1d(units),
        nn.Dropout(dropout),
    )


def init_kaiming(model: nn.Module) -> None:
    """Start convolutions and linear layers from He et al.'s normal distribution, with biases of 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


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

"""S4: layers of diagonal state spaces, which act as convolutions as long as the record."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo
from utils.model_registry import ModelCase, Published

_STEPS = (1e-3, 1e-1)  # range in which the step sizes start


class LongConvolution(torch.autograd.Function):
    """Convolution with a kernel of twice the length, whose second half acts backwards in time.

    PyTorch's gradient of a real Fourier transform is a complex one of full length, which takes five times as
    long; here every transform is real.

    Shapes: x (B, channels, T), kernel (channels, 2 T) -> (B, channels, T).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        size = kernel.shape[1]
        signal, response = torch.fft.rfft(x, size), torch.fft.rfft(kernel)
        ctx.save_for_backward(signal, response)
        return torch.fft.irfft(signal * response, size)[:, :, : size // 2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        signal, response = ctx.saved_tensors
        size = 2 * gradient.shape[2]
        spectrum, x, kernel = torch.fft.rfft(gradient, size), None, None
        if ctx.needs_input_grad[0]:
            x = torch.fft.irfft(spectrum * response.conj(), size)[:, :, : size // 2]
        if ctx.needs_input_grad[1]:
            kernel = torch.fft.irfft((spectrum * signal.conj()).sum(dim=0), size)
        return x, kernel


class StateSpace(nn.Module):
    """A state space for each channel, read in both directions: (B, channels, T) -> (B, channels, T).

    ``states``: number of states; they are complex, so half as many numbers, with their conjugates.
    """

    def __init__(self, channels: int, states: int, bidirectional: bool):
        super().__init__()
        low, high = map(math.log, _STEPS)
        self.log_step = nn.Parameter(torch.rand(channels) * (high - low) + low)
        # S4D-Inv: real parts -1/2, imaginary parts as those of the diagonal part of HiPPO-LegS
        index = torch.arange(states // 2)
        frequency = states / math.pi * (states / (2 * index + 1) - 1)
        self.log_decay = nn.Parameter(torch.full((channels, states // 2), math.log(0.5)))
        self.frequency = nn.Parameter(frequency.repeat(channels, 1))
        directions = 2 if bidirectional else 1
        self.output = nn.Parameter(torch.randn(directions, channels, states // 2, 2) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(channels))

    def kernels(self, length: int) -> Tensor:
        """Response of each direction to an impulse, (directions, channels, length)."""
        poles = torch.complex(-self.log_decay.exp(), self.frequency)
        exponents = poles * self.log_step.exp()[:, None]
        # zero-order hold
        weights = torch.view_as_complex(self.output.float()) * (exponents.exp() - 1) / poles
        steps = torch.arange(length, device=poles.device)
        powers = (exponents[:, :, None] * steps).exp()
        return 2 * torch.einsum("dcn,cnt->dct", weights, powers).real

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[2]
        with torch.autocast(x.device.type, enabled=False):  # there is no Fourier transform in bfloat16
            x = x.float()
            kernels = self.kernels(length)
            kernel = functional.pad(kernels[0], (0, length))
            if len(kernels) == 2:
                kernel = kernel + functional.pad(kernels[1].flip(1), (length, 0))
            return LongConvolution.apply(x, kernel) + x * self.skip[:, None]

    def for_export(self, samples: int) -> nn.Module:
        """The same for records of one length and without complex numbers, which ONNX lacks."""
        with torch.no_grad():
            kernels = self.kernels(samples)
            kernel = kernels[0].flip(1)
            if len(kernels) == 2:
                kernel = torch.cat([kernel, kernels[1][:, : samples - 1]], dim=1)
            return FixedConvolution(kernel, self.skip.detach(), samples)


class FixedConvolution(nn.Module):
    """A state space as a convolution of fixed length: (B, channels, T) -> (B, channels, T).

    ``kernel``: (channels, T), or (channels, 2 T - 1) where the past and the future are read.
    """

    def __init__(self, kernel: Tensor, skip: Tensor, samples: int):
        super().__init__()
        self.register_buffer("kernel", kernel[:, None].contiguous())
        self.register_buffer("skip", skip[:, None].contiguous())
        self.before, self.after = samples - 1, kernel.shape[1] - samples

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (self.before, self.after))
        return functional.conv1d(padded, self.kernel, groups=len(self.kernel)) + x * self.skip


class Layer(nn.Module):
    """State space, GELU and a gated linear layer beside a shortcut; layer norm behind the sum.

    Shapes: (B, T, channels) -> (B, T, channels).
    """

    def __init__(self, channels: int, states: int, bidirectional: bool, dropout: float):
        super().__init__()
        self.space = StateSpace(channels, states, bidirectional)
        self.mix = nn.Linear(channels, 2 * channels)
        self.dropout = nn.Dropout1d(dropout)  # of whole channels
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(functional.gelu(self.space(x.transpose(1, 2))))
        y = functional.glu(self.mix(y.transpose(1, 2)), dim=2)
        return self.norm(x + self.dropout(y.transpose(1, 2)).transpose(1, 2))


@register_model(
    title="S4",
    doi="10.48550/arXiv.2206.11893",
    parameters=2_167_813,
    published=(
        Published("all", {"macro_roc_auc": 0.941}, "10.48550/arXiv.2509.25095"),
        Published("diagnostic", {"macro_roc_auc": 0.943}, "10.48550/arXiv.2509.25095"),
        Published("subdiagnostic", {"macro_roc_auc": 0.938}, "10.48550/arXiv.2509.25095"),
        Published("superdiagnostic", {"macro_roc_auc": 0.932}, "10.48550/arXiv.2509.25095"),
        Published("form", {"macro_roc_auc": 0.919}, "10.48550/arXiv.2509.25095"),
        Published("rhythm", {"macro_roc_auc": 0.956}, "10.48550/arXiv.2509.25095"),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "channels": 6, "states": 4, "layers": 2, "dropout": 0.0},
            parameters=419,
            samples=(20, 333, 1000),
            leads=(1, 12),
        ),
    ),
)
class S4(nn.Module):
    """S4 in the sizes of Mehari and Strodthoff, with diagonal state spaces (S4D).

    They use the state space of S4, normal plus low rank; its diagonal form has the same answer to an impulse
    up to the choice of poles, and needs no kernel of its own. The mean over time is classified. The weights
    do not depend on the length of the record.

    Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
    doi:10.48550/arXiv.2206.11893; Mehari and Strodthoff, "Advancing the State-of-the-Art for ECG Analysis
    through Structured State Space Models", ML4H 2022, doi:10.48550/arXiv.2211.07579.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        channels: int = 512,
        states: int = 8,
        layers: int = 4,
        bidirectional: bool = True,
        dropout: float = 0.2,
    ):
        super().__init__()
        if states < 2 or states % 2:
            raise UsageError(f"s4: states must be even, not {states}")
        self.samples, self.leads = samples, leads
        self.encoder = nn.Linear(leads, channels)
        self.layers = nn.Sequential(*(Layer(channels, states, bidirectional, dropout) for _ in range(layers)))
        seen = 2 * samples - 1 if bidirectional else samples
        self.columns = nn.Identity()  # Grad-CAM reads its output
        self.feature_info = (
            FeatureInfo("columns", channels, 1, seen, 1 - samples, middle=0.0, explained=True),
        )
        self.head = nn.Linear(channels, num_classes)

    def features(self, signals: Tensor) -> Tensor:
        """What the last layer gives for each sample: (B, samples, leads) -> (B, channels, samples)."""
        channels_first(signals, self.samples, self.leads, "s4")
        return self.columns(self.layers(self.encoder(signals)).transpose(1, 2))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.features(signals).mean(dim=2))

"""MiniRocket: fixed convolutions, the part of each that exceeds a bias, and a linear layer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.model_registry import ModelCase

_LENGTH = 9  # samples of a kernel
_KERNELS = 84  # all ways to place three weights of 2 among nine of -1
_DILATIONS = 32  # at most


def _dilations(samples: int, each: int) -> dict[int, int]:
    """Dilations of every kernel, as powers of two rounded down, and the biases of each dilation."""
    count = min(each, _DILATIONS)
    longest = math.log2((samples - 1) / (_LENGTH - 1))
    exponents = np.linspace(0, longest, count)
    values, counts = np.unique((2**exponents + 1e-9).astype(int), return_counts=True)
    shares = (counts * (each / count)).astype(int)
    shares[: each - shares.sum()] += 1
    return dict(zip(values.tolist(), shares.tolist(), strict=True))


@register_model(
    title="MiniRocket",
    doi="10.1145/3447548.3467231",
    parameters=49_985,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "features": 168},
            parameters=845,
            samples=(9, 333, 1000),
            leads=(1, 12),
        ),
    ),
)
class MiniRocket(nn.Module):
    """MiniRocket: only the linear layer on its features is learned, in closed form.

    84 kernels of nine samples, weights -1 and 2, at dilations up to the length of the record; each reads a
    random choice of the leads. A feature is the part of the record in which a convolution exceeds a bias, and
    the biases are quantiles of the convolution of training records (`draw_biases`). It has no gradient, so
    there are no maps for Grad-CAM.

    ``features``: number of features; multiples of 84 are used.
    ``kernel_seed``: seed of the choice of leads.

    Dempster et al., "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series
    Classification", KDD 2021, doi:10.1145/3447548.3467231.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        features: int = 9996,
        kernel_seed: int = 0,
    ):
        super().__init__()
        if samples < _LENGTH or features < _KERNELS:
            raise UsageError(
                f"minirocket: needs {_LENGTH} samples and {_KERNELS} features or more, not {samples} and "
                f"{features}"
            )
        self.samples, self.leads = samples, leads
        self.dilations = _dilations(samples, features // _KERNELS)
        kernels = torch.full((_KERNELS, _LENGTH), -1.0)
        for row, places in enumerate(itertools.combinations(range(_LENGTH), 3)):
            kernels[row, list(places)] = 2.0
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("choices", self._choose_leads(kernel_seed))
        self.count = _KERNELS * sum(self.dilations.values())
        self.register_buffer("biases", torch.zeros(self.count))
        self.feature_info = ()
        self.head = nn.Linear(self.count, num_classes)

    def _choose_leads(self, seed: int) -> Tensor:
        """Leads of each kernel and dilation, between one and nine, small numbers more often."""
        rng = np.random.default_rng(seed)
        largest = math.log2(min(self.leads, _LENGTH) + 1)
        rows = np.zeros((len(self.dilations), _KERNELS, self.leads), np.float32)
        for row in rows.reshape(-1, self.leads):
            number = max(1, int(2 ** (rng.random() * largest)))
            row[rng.permutation(self.leads)[:number]] = 1.0
        return torch.from_numpy(rows)

    def _convolved(self, x: Tensor) -> list[tuple[Tensor, int]]:
        """Convolutions (B, 84, samples) of each dilation, and its number of biases; x (B, leads, samples)."""
        rows = []
        for choice, (dilation, share) in zip(self.choices, self.dilations.items(), strict=True):
            weight = self.kernels[:, None] * choice[:, :, None]
            padding = dilation * (_LENGTH // 2)
            rows.append((functional.conv1d(x, weight, padding=padding, dilation=dilation), share))
        return rows

    def _valid(self, place: int, dilation: int) -> tuple[Tensor, slice]:
        """Kernels that read only what is not padded, every second one, and the columns where they can."""
        margin = dilation * (_LENGTH // 2)
        inside = slice(margin, self.samples - margin) if self.samples > 2 * margin else slice(None)
        return torch.arange((place + 1) % 2, _KERNELS, 2), inside

    @torch.no_grad()
    def draw_biases(self, signals: Tensor, seed: int) -> None:
        """Take the biases from records, one for each kernel and dilation; signals (N, samples, leads)."""
        generator, biases = torch.Generator().manual_seed(seed), []
        quantiles = (torch.arange(1, self.count + 1) * ((math.sqrt(5) + 1) / 2)) % 1
        used = 0
        for place, (dilation, share) in enumerate(self.dilations.items()):
            records = torch.randint(len(signals), (_KERNELS,), generator=generator)
            weight = self.kernels[:, None] * self.choices[place][:, :, None]
            x = signals[records].transpose(1, 2)  # a record for each kernel: groups of one
            y = functional.conv1d(
                x.reshape(1, -1, self.samples),
                weight,
                padding=dilation * (_LENGTH // 2),
                dilation=dilation,
                groups=_KERNELS,
            )[0]
            wanted = quantiles[used : used + _KERNELS * share].view(_KERNELS, share)
            narrow, inside = self._valid(place, dilation)
            rows = [y[k, inside] if k in set(narrow.tolist()) else y[k] for k in range(_KERNELS)]
            values = [torch.quantile(row, q) for row, q in zip(rows, wanted, strict=True)]
            biases.append(torch.stack(values).flatten())
            used += _KERNELS * share
        self.biases.copy_(torch.cat(biases))

    @torch.no_grad()
    def parts_above(self, signals: Tensor) -> Tensor:
        """Features: (B, samples, leads) -> (B, features)."""
        x = channels_first(signals, self.samples, self.leads, "minirocket").contiguous()
        columns, used = [], 0
        for place, ((y, share), dilation) in enumerate(zip(self._convolved(x), self.dilations, strict=True)):
            biases = self.biases[used : used + _KERNELS * share].view(_KERNELS, share)
            narrow, inside = self._valid(place, dilation)
            part = torch.stack([(y > b[:, None]).mean(dim=2, dtype=y.dtype) for b in biases.T], dim=2)
            short = torch.stack(
                [(y[:, narrow, inside] > b[narrow, None]).mean(dim=2, dtype=y.dtype) for b in biases.T], dim=2
            )
            part[:, narrow] = short
            columns.append(part.flatten(1))
            used += _KERNELS * share
        return torch.cat(columns, dim=1)

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.parts_above(signals))

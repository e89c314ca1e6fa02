"""Convolutions along time in the frequency domain: a kernel of 7 needs a third of the multiplications.

On one core a wide convolutional network is bound by its multiplications, so that batches alone gain little.
Time is cut into short overlapping pieces; each piece is transformed, multiplied channel by channel for every
frequency, and transformed back (Winograd's scheme with the discrete Fourier transform as its points, which
unlike small whole numbers loses no digits). With channels innermost in memory all three steps are products of
matrices as they lie.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_PIECES = range(20, 41)  # outputs of one piece: shorter ones cost more steps, longer ones more memory
_TRAFFIC = 130  # cost of moving a number through memory, in multiplications (measured)


class _Transform(NamedTuple):
    """A correlation ``y[t] = sum_j w[j] x[t + j]`` as ``back @ ((of_samples @ x) * (of_kernel @ w))``."""

    of_samples: np.ndarray  # (P, m + k - 1)
    of_kernel: np.ndarray  # (P, k)
    back: np.ndarray  # (m, P)


def _transform(outputs: int, kernel: int) -> _Transform:
    """The discrete Fourier transform of (even) length outputs + kernel - 1 in real numbers.

    A product of complex numbers (a + bi)(c + di) takes three real ones: c(a + b), a(d - c) and b(c + d).
    """
    length = outputs + kernel - 1
    time = np.arange(length)
    of_samples, of_kernel, back = [], [], []
    for frequency in range(length // 2 + 1):
        angle = 2 * np.pi * frequency * time / length
        cosine, sine = np.cos(angle), np.sin(angle)
        if frequency in (0, length // 2):
            of_samples.append(cosine)
            of_kernel.append(cosine[:kernel])
            back.append(cosine[:outputs] / length)
            continue
        a, b = cosine, -sine
        c, d = cosine[:kernel], sine[:kernel]  # conjugate: a correlation
        of_samples += [a + b, a, b]
        of_kernel += [c, d - c, c + d]
        cosine, sine = 2 * cosine[:outputs] / length, 2 * sine[:outputs] / length
        back += [cosine - sine, -sine, -cosine]
    return _Transform(np.array(of_samples), np.array(of_kernel), np.array(back).T)


def _best_piece(channels_in: int, channels_out: int, kernel: int, length: int) -> tuple[int, float]:
    """Outputs of a piece with which `length` outputs at stride 1 cost least, and that cost."""
    costs = {}
    for outputs in _PIECES:
        size = outputs + kernel - 1
        if size % 2 == 0:
            points = 3 * size // 2 - 1
            transforms = size * channels_in + outputs * channels_out
            costs[outputs] = -(-length // outputs) * points * (channels_in * channels_out + transforms)
    best = min(costs, key=lambda outputs: costs[outputs])
    return best, costs[best] + length * _TRAFFIC * (channels_in + channels_out)


def along_time(convolution: nn.Module) -> bool:
    """Whether a layer is a convolution along time without groups or dilation, zero-padded if at all."""
    if type(convolution) not in (nn.Conv1d, nn.Conv2d) or isinstance(convolution.padding, str):
        return False
    plain = convolution.groups == 1 and set(convolution.dilation) == {1}
    flat = {*convolution.kernel_size[:-1], *convolution.stride[:-1]} <= {1} and not any(
        convolution.padding[:-1]
    )
    return plain and flat and convolution.padding_mode == "zeros"


def is_cheaper(convolution: nn.Conv1d | nn.Conv2d, length: int) -> bool:
    """Whether the frequency domain is the cheaper way for a convolution along time."""
    size, stride = convolution.kernel_size[-1], convolution.stride[-1]
    channels_in, channels_out = convolution.in_channels, convolution.out_channels
    cost = _best_piece(channels_in * stride, channels_out, -(-size // stride), length)[1]
    return cost < 0.9 * length * size * channels_in * channels_out


class FrequencyConvolution(nn.Module):
    """The function of a convolution along time, to rounding, by short Fourier transforms.

    ``convolution``: one that is `along_time`; it is not changed.
    ``length``: samples of its output, for which the pieces are chosen. Any other length works too.
    """

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d, length: int):
        super().__init__()
        weight = convolution.weight.detach().double().flatten(2)  # (out, in, k)
        self.size, self.stride = weight.shape[2], convolution.stride[-1]
        self.padding = int(convolution.padding[-1])
        # A stride of s: sample s t + r of channel c becomes sample t of channel (r, c).
        self.kernel = -(-self.size // self.stride)
        weight = functional.pad(weight, (0, self.kernel * self.stride - self.size))
        weight = weight.unflatten(2, (self.kernel, self.stride)).permute(2, 3, 1, 0).flatten(1, 2)
        self.outputs, _ = _best_piece(weight.shape[1], weight.shape[2], self.kernel, length)
        of_samples, of_kernel, back = map(torch.from_numpy, _transform(self.outputs, self.kernel))
        self.register_buffer("of_samples", of_samples.float())
        self.register_buffer("weight", torch.einsum("pk,kio->pio", of_kernel, weight).float().contiguous())
        self.register_buffer("back", back.float())
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, [leads,] T) to the convolution's output; channels lie innermost in memory."""
        steps = x.movedim(1, -1)
        rows = steps.reshape(-1, *steps.shape[-2:])  # (B [leads], T, channels)
        length = (rows.shape[1] + 2 * self.padding - self.size) // self.stride + 1
        tiles = self._tiles(rows, -(-length // self.outputs))
        pieces, size = tiles.shape[1], tiles.shape[2] // self.stride
        tiles = tiles.reshape(-1, size, self.stride * rows.shape[2])
        spectra = torch.bmm(self.of_samples.expand(len(tiles), -1, -1), tiles)
        products = torch.bmm(spectra.transpose(0, 1), self.weight)
        if self.bias is not None:
            products[0] += self.bias * size  # the mean of a piece
        result = torch.bmm(self.back.expand(len(tiles), -1, -1), products.transpose(0, 1))
        result = result.reshape(len(rows), pieces * self.outputs, -1)[:, :length]
        return result.reshape(*steps.shape[:-2], length, -1).movedim(-1, 1)

    def _tiles(self, rows: Tensor, pieces: int) -> Tensor:
        """Overlapping pieces (rows, pieces, samples, channels) of signals (rows, T, channels)."""
        count, time, channels = rows.shape
        step, left = self.outputs * self.stride, self.padding
        size = (self.outputs + self.kernel - 1) * self.stride
        tiles = rows.new_empty(count, pieces, size, channels)
        for piece in range(pieces):
            first = piece * step - left
            start, stop = (min(max(edge - first, 0), size) for edge in (0, time))  # of the signal in it
            tiles[:, piece, :start] = 0
            tiles[:, piece, start:stop] = rows[:, first + start : first + stop]
            tiles[:, piece, stop:] = 0
        return tiles

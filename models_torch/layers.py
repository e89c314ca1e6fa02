"""What the PyTorch models share."""

from __future__ import annotations

from torch import Tensor

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

"""Brings a coarse feature map, as a model's ``feature_info`` describes it, to samples and leads.

Where a layer has mixed the leads, its map says nothing about them, and every lead gets the same values. What
bypasses the layer (ECGNet's LSTM) is not in the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.feature_info import FeatureInfo


@dataclass(frozen=True)
class FeatureLayer:
    """A feature map of a model that reads `samples` samples of `leads` leads.

    ``channels_last``: (rows, columns, channels), as in Keras.
    """

    info: FeatureInfo
    samples: int
    leads: int
    channels_last: bool

    def arrange(self, maps: Tensor) -> Tensor:
        """Bring a map, or its gradient, to (B, channels, H, windows, columns).

        H is the number of leads, or 1 where they are mixed; windows is 1 where the layer reads the whole
        record.
        """
        if maps.ndim == 4:  # an image with the leads as rows: (B, channels, H, columns)
            return maps[:, :, :, None]
        maps = maps.movedim(-1, 1) if self.channels_last else maps
        height = self.leads if self.info.leads == "each" else 1
        windows = self.samples // (self.info.window or self.samples)
        return maps.unflatten(0, (-1, height, windows)).permute(0, 3, 1, 2, 4)

    def lay_out(self, values: Tensor, upsampling: str = "centered") -> Tensor:
        """Bring values of the columns to samples and leads.

        Shapes: values (B, H, windows, columns) -> (B, samples, leads).
        """
        windows, columns = values.shape[2:]
        length = self.samples // windows
        parts = [middles for middles in self.info.middles(columns) if len(middles)]
        matrix = np.concatenate([_shares(middles, length, upsampling) for middles in parts], axis=1)
        fine = values @ torch.tensor(matrix.T, dtype=values.dtype, device=values.device)
        fine = fine.flatten(2)
        if self.info.leads == "in turn":
            steps = fine[:, 0].repeat_interleave(self.leads, dim=1)
            return steps.unflatten(1, (self.leads, self.samples)).transpose(1, 2)
        return fine.transpose(1, 2).expand(-1, -1, self.leads)


def _shares(middles: np.ndarray, samples: int, upsampling: str) -> np.ndarray:
    """Share of each column in each sample, (samples, columns)."""
    times, columns = np.arange(samples), np.arange(len(middles))
    if upsampling == "nearest":
        return (times[:, None] * len(columns) // samples == columns).astype(float)
    position = np.interp(times, middles, columns)
    return np.maximum(0, 1 - np.abs(position[:, None] - columns))

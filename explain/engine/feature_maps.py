"""Grad-CAM's layer of each architecture, and where each of its columns lies in time and leads.

=================  ================================================  =======================================
model              layer                                             a column at 100 Hz
=================  ================================================  =======================================
resnet18           last stage, as in the study                       32 samples of one lead; of all leads if
                                                                     ``lead_aware``
resnet101          last block                                        32 samples of all leads
ecgnet             block before the stride passes 32 samples         32 samples of all leads, once for each of
                                                                     the four stem convolutions, which the
                                                                     network joins along time: they are added
protoecgnet*       trunk, whose columns the prototypes look at       32 samples (160 at 500 Hz) of all leads;
                                                                     the fusion adds its branches
imle_net           last ReLU before the beat attention               4 samples of one window of one lead
mousavi            last convolution                                  4 samples of one window of all leads
rajpurkar          block before the stride passes 32 samples         32 samples of all leads
=================  ================================================  =======================================

ECGNet and Rajpurkar's network go on to strides of 256 samples, four columns for ten seconds: no map. There
Grad-CAM reads the last block that is as fine as the study's network. Where a layer has mixed the leads, its
map says nothing about them, and every lead gets the same values. What bypasses the layer (ECGNet's LSTM) is
not in the map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MAX_STRIDE = 32  # samples of a column of the study's ResNet-18


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose output is a coarse map of the signal.

    ``name``: what the layer is.
    ``source``: the module whose output, or the tensor which, is the map.
    ``arrange``: brings the map, and its gradient, to (rows, channels, H, windows, columns). H is
        the number of leads, or 1 where they are mixed; the windows follow one another in time, 1
        where the layer reads it whole.
    ``centres``: number of columns and samples of a window -> a list of arrays: the sample at the
        middle of what each column sees. One array for each time the columns run through the window;
        the maps of all are added.
    ``spread``: (rows, H, T) and the number of leads -> (rows, T, leads).
    """

    name: str
    source: Any
    arrange: Callable[[Tensor], Tensor]
    centres: Callable[[int, int], list[np.ndarray]]
    spread: Callable[[Tensor, int], Tensor]

    def lay_out(self, values: Tensor, samples: int, leads: int, upsampling: str) -> Tensor:
        """Bring values of the columns to samples and leads.

        Shapes: values (rows, H, windows, columns) -> (rows, samples, leads).
        """
        windows, columns = values.shape[2:]
        length = samples // windows
        parts = [c for c in self.centres(columns, length) if len(c)]
        matrix = np.concatenate([_weights(c, length, upsampling) for c in parts], axis=1)
        fine = values @ torch.tensor(matrix.T, dtype=values.dtype, device=values.device)
        return self.spread(fine.flatten(2), leads)


def _weights(centres: np.ndarray, samples: int, upsampling: str) -> np.ndarray:
    """Share of each column in each sample, (samples, columns)."""
    times, columns = np.arange(samples), np.arange(len(centres))
    if upsampling == "nearest":
        return (times[:, None] * len(columns) // samples == columns).astype(float)
    place = np.interp(times, centres, columns)
    return np.maximum(0, 1 - np.abs(place[:, None] - columns))


def _regular(first: float, stride: float) -> Callable[[int, int], list[np.ndarray]]:
    """Columns at even distances."""
    return lambda columns, _samples: [first + stride * np.arange(columns)]


def _by_lead(values: Tensor, leads: int) -> Tensor:
    """(rows, H, T) -> (rows, T, leads); what belongs to no lead goes to all of them."""
    return values.transpose(1, 2).expand(-1, -1, leads)


def _channels_first(maps: Tensor) -> Tensor:
    return maps[:, :, None, None]


def _channels_last(maps: Tensor) -> Tensor:
    return _channels_first(maps.transpose(1, 2))


def _resnet18(_config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    def arrange(maps: Tensor) -> Tensor:  # an image: (B, channels, leads, columns)
        return maps[:, :, :, None]

    return [FeatureLayer("backbone.layer4", model.backbone.layer4, arrange, _regular(0, 32), _by_lead)]


def _resnet101(config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    stride = 4 * 2 ** (len(config["blocks"]) - 1)
    return [FeatureLayer("blocks", model.blocks, _channels_first, _regular(0, stride), _by_lead)]


def _trunk(name: str, trunk: Any) -> FeatureLayer:
    return FeatureLayer(name, trunk, _channels_first, _regular(0, trunk.stride), _by_lead)


def _protoecgnet(_config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    return [_trunk("trunk", model.trunk)]


def _fusion(_config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    branches = enumerate(model.branch_models)
    return [_trunk(f"branch_models.{index}.trunk", branch.trunk) for index, branch in branches]


def _ecgnet(config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    # every second block halves the time axis after a first convolution of stride 2
    last = max(i for i in range(config["blocks"]) if 2 * 2 ** ((i + 1) // 2) <= _MAX_STRIDE)
    sizes = config["stem_kernels"]

    def centres(columns: int, samples: int) -> list[np.ndarray]:
        joined = _regular(*_ecgnet_grid(config["kernel"], last))(columns, samples)[0]
        parts, start = [], 0
        for index, size in enumerate(sizes):
            end = start + samples - size + 1
            inside = joined >= start if index == len(sizes) - 1 else (joined >= start) & (joined < end)
            parts.append(joined[inside] - start + (size - 1) / 2)
            start = end
        return parts

    return [FeatureLayer(f"blocks.{last}", model.blocks[last], _channels_first, centres, _by_lead)]


def _ecgnet_grid(kernel: int, last: int) -> tuple[float, int]:
    """First column and stride in the joined outputs of the stem: a convolution padded by 2, then poolings."""
    halvings = (last + 1) // 2
    first = (kernel - 1) / 2 - 2 + sum(0.5 * 2 * 2**i for i in range(halvings))
    return first, 2 * 2**halvings


def _shift(kernel: int, stride: int) -> float:
    """How far the middle of a kernel lies right of its stride's first sample, with Keras' "same" padding."""
    return (kernel - 1) / 2 - max(kernel - stride, 0) // 2


def _imle_net(config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    leads, windows = config["leads"], config["samples"] // config["window"]

    def arrange(maps: Tensor) -> Tensor:  # (B * leads * windows, columns, channels)
        return maps.unflatten(0, (-1, leads, windows)).permute(0, 4, 1, 2, 3)

    relu = [layer for layer in model.layers if type(layer).__name__ == "ReLU"][-1]
    stride = 2 ** (len(config["blocks"]) - 1)
    return [FeatureLayer("last ReLU", relu.output, arrange, _regular((stride - 1) / 2, stride), _by_lead)]


def _mousavi(config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    windows, samples = config["samples"] // config["window"], config["samples"]
    first, stride = 0.0, 1
    for index in range(len(config["filters"])):
        if index:
            first += stride * (config["pool"] - 1) / 2
            stride *= config["pool"]
        first += stride * _shift(config["kernel"], 1)

    def arrange(maps: Tensor) -> Tensor:  # (B * windows, columns, channels)
        return maps.unflatten(0, (-1, windows)).permute(0, 3, 1, 2)[:, :, None]

    def lead_major(values: Tensor, leads: int) -> Tensor:
        """Reference layout: a step is as many consecutive samples of one lead as there are leads."""
        steps = values[:, 0].repeat_interleave(leads, dim=1)
        return steps.unflatten(1, (leads, samples)).transpose(1, 2)

    conv = [layer for layer in model.layers if type(layer).__name__ == "Conv1D"][-1]
    spread = _by_lead if config["window_layout"] == "time" else lead_major
    return [FeatureLayer("last convolution", conv.output, arrange, _regular(first, stride), spread)]


def _rajpurkar(config: Mapping[str, Any], model: Any) -> list[FeatureLayer]:
    # every second block halves the time axis; a block ends with the sum of its two paths
    last = max(i for i in range(config["blocks"]) if 2 ** ((i + 1) // 2) <= _MAX_STRIDE)
    sums = [operation for operation in model.operations if type(operation).__name__ == "Add"]
    # Even kernels look half a step to the right, again and again: what a column sees lies between the middle
    # of its own samples, where the shortcuts lead, and the far end of the way through all the convolutions.
    through, stride = 0.0, 1
    for index in range(last + 1):
        step = 1 + index % 2
        through += stride * _shift(config["kernel"], step) + stride * step * _shift(config["kernel"], 1)
        stride *= step
    first = _shift(config["kernel"], 1) + (through + (stride - 1) / 2) / 2
    centres = _regular(first, stride)
    return [FeatureLayer(f"block {last}", sums[last].output, _channels_last, centres, _by_lead)]


_ARCHITECTURES: dict[str, Callable[[Mapping[str, Any], Any], list[FeatureLayer]]] = {
    "resnet18": _resnet18,
    "resnet101": _resnet101,
    "ecgnet": _ecgnet,
    "protoecgnet": _protoecgnet,
    "protoecgnet_trunk": _protoecgnet,
    "protoecgnet_fusion": _fusion,
    "imle_net": _imle_net,
    "mousavi": _mousavi,
    "rajpurkar": _rajpurkar,
}


def feature_layers(config: Mapping[str, Any], model: Any) -> tuple[FeatureLayer, ...]:
    """Grad-CAM's layers of a model."""
    build = _ARCHITECTURES.get(config["name"])
    return tuple(build(config, model)) if build else ()

"""Weights of an ImageNet ResNet for the trunks that are built like one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from models_torch.protoecgnet.resnet import ResNet
from utils.errors import DataError

_FIRST_KERNEL = (3, 7, 7)  # colors, rows, columns


def trunk_weights(weights: dict[str, Tensor], trunk: ResNet) -> dict[str, Tensor]:
    """Turn the weights of an image network into those of a trunk.

    The trunk convolves over time alone. Of each square kernel it gets the middle row, the only one that meets
    a signal on a map of height 1. The first kernel is summed over colors and rows and spread evenly over the
    leads: leads that are all alike give what an image with equal colors and rows would. (The reference
    averages its new, random layer instead, so that nothing of ImageNet's first kernel is left.)

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, doi:10.1109/CVPR.2016.90.
    """
    result = trunk.state_dict()
    left = {key for key in weights if _used(key)}
    for key, target in result.items():
        if not _used(key):
            continue
        name = _image_name(key)
        if name not in weights:
            raise DataError(
                f"the file has no '{name}': take a ResNet of the same depth, with torchvision's names"
            )
        tensor = weights[name]
        if key == "conv1.weight" and tensor.shape == (len(target), *_FIRST_KERNEL):
            tensor = _first_kernel(tensor, target)
        elif target.ndim == 3 and tensor.ndim == 4:
            tensor = tensor[:, :, tensor.shape[2] // 2]
        if tensor.shape != target.shape:
            raise DataError(
                f"'{name}' is {tuple(weights[name].shape)}, which does not fit {tuple(target.shape)}"
            )
        result[key] = tensor.to(target.dtype)
        left.discard(name)
    if left:
        raise DataError(f"the file has '{sorted(left)[0]}', which this depth does not have")
    return result


def _used(key: str) -> bool:
    """Not the layer for ImageNet's classes, nor a counter that no layer here reads."""
    return not key.startswith("fc.") and not key.endswith("num_batches_tracked")


def _image_name(key: str) -> str:
    """``stages.0.1.convs.0.weight`` is ``layer1.1.conv1.weight`` in an image network."""
    words = key.split(".")
    if words[0] != "stages":
        return key
    stage, block, kind, index, *rest = words[1:]
    if kind == "downsample":
        return ".".join([f"layer{int(stage) + 1}", block, kind, index, *rest])
    layer = {"convs": "conv", "norms": "bn"}[kind]
    return ".".join([f"layer{int(stage) + 1}", block, f"{layer}{int(index) + 1}", *rest])


def _first_kernel(kernel: Tensor, target: Tensor) -> Tensor:
    flat = target.ndim == 3
    leads, size = (target.shape[1] if flat else target.shape[2]), target.shape[-1]
    one = kernel.sum(dim=(1, 2))[:, None, :] / leads
    if size != kernel.shape[3]:  # a wider kernel for 500 Hz, which sees the same stretch of time
        one = functional.interpolate(one, size=size, mode="linear") * kernel.shape[3] / size
    spread = one.expand(-1, leads, -1)
    return (spread if flat else spread[:, None]).clone()

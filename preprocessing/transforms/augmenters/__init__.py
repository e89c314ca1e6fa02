"""Augmenters of training batches, for NumPy arrays and PyTorch tensors alike."""

from preprocessing.transforms.augmenters import amplitudes as _amplitudes  # noqa: F401  (the augmenters register themselves)
from preprocessing.transforms.augmenters import bursts as _bursts  # noqa: F401
from preprocessing.transforms.augmenters import labels as _labels  # noqa: F401
from preprocessing.transforms.augmenters import masking as _masking  # noqa: F401
from preprocessing.transforms.augmenters import time_axis as _time_axis  # noqa: F401
from preprocessing.transforms.augmenters import wander as _wander  # noqa: F401
from preprocessing.transforms.augmenters.base import list_augmenters, register_augmenter
from preprocessing.transforms.augmenters.manager import AugmenterManager
from preprocessing.transforms.augmenters.offline import StretchCompressOffline

__all__ = ["AugmenterManager", "StretchCompressOffline", "list_augmenters", "register_augmenter"]

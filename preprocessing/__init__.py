"""Recordings become NumPy arrays: targets, splits, the array cache and standardization."""

from preprocessing.dataset import Dataset, ECGDataset
from preprocessing.loading import load_dataset
from preprocessing.ptbxl import load_ptbxl
from preprocessing.targets import list_targets, register_targets
from preprocessing.transforms.standardize import Standardizer, fit_standardizer
from utils.renamed import install as _install

__all__ = [
    "Dataset",
    "ECGDataset",
    "Standardizer",
    "fit_standardizer",
    "list_targets",
    "load_dataset",
    "load_ptbxl",
    "register_targets",
]

_install()

"""Recordings become NumPy arrays: labels, splits, the array cache and standardisation."""

from preprocessing.dataset import Dataset, ECGDataset
from preprocessing.ptbxl import load_ptbxl
from preprocessing.transforms.standardize import Standardizer, fit_standardizer
from utils.renamed import install as _install

__all__ = ["Dataset", "ECGDataset", "Standardizer", "fit_standardizer", "load_ptbxl"]

_install()

"""Recordings become NumPy arrays: labels, splits, the array cache and standardisation."""

from preprocessing.dataset import ECGDataset
from preprocessing.load import load_ptbxl
from preprocessing.standardize import Standardizer, fit_standardizer

__all__ = ["ECGDataset", "Standardizer", "fit_standardizer", "load_ptbxl"]

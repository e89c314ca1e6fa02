"""Synthetic 12-lead ECGs with planted signs of disease, written in the layout of PTB-XL."""

from databases.synthetic.dataset import load_ground_truth, write_dataset

__all__ = ["load_ground_truth", "write_dataset"]

"""Synthetic 12-lead ECGs with findings of known place, written in the layout of PTB-XL."""

from databases.synthetic.dataset import load_ground_truth as load_ground_truth
from databases.synthetic.dataset import write_dataset as write_dataset

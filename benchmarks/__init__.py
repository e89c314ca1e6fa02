"""Benchmarks: result pages from committed predictions, and speed and memory measured side by side."""

from utils import renamed

renamed.install()

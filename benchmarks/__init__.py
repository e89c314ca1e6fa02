"""Benchmarks: the results table with its predictions, and speed and memory measured side by side."""

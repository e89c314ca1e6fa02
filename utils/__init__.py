"""Metrics, files, errors, seeds, loggers and plots: imports nothing from the layers above."""

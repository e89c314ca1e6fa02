"""Metrics, files, errors, seeds, loggers and plots: imports nothing from the layers above."""

from utils.renamed import install as _install

_install()

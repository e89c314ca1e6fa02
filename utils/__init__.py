"""Metrics, files, errors, seeds, loggers and plots: imports nothing from the layers above."""

import os as _os

from utils.renamed import install as _install

# GNU OpenMP reads it when PyTorch is imported. By default its threads spin at each barrier, which takes the
# CPU from the thread that they wait for as soon as anything else runs: benchmarks/speed/README.md.
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_install()

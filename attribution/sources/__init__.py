"""Which windows of each database the study explains, with their labels and ground truth."""

from utils.renamed import install as _install

_install()

"""Builders of windows, one module a family of datasets."""

from utils.renamed import install as _install

_install()

"""The attribution study: it asks whether the explanations of a model can be trusted."""

from utils.renamed import install as _install

_install()

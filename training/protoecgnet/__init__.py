"""ProtoECGNet: its stages, and explanations that add up."""

from utils.renamed import install as _install

_install()

"""What is on disk: one module a public database, the downloader and the synthetic ECG generator."""

from utils.renamed import install as _install

_install()

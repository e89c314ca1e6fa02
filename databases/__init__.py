"""What is on disk: one module a public database, the downloader and the synthetic ECG generator."""

from databases.base import Annotations, Database, Marks, Recording, Rhythms, Waves
from databases.registry import list_databases, open_database, register_database
from utils.renamed import install as _install

__all__ = [
    "Annotations",
    "Database",
    "Marks",
    "Recording",
    "Rhythms",
    "Waves",
    "list_databases",
    "open_database",
    "register_database",
]

_install()

"""The synthetic dataset as a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from databases.ptbxl import Ptbxl
from databases.registry import register_database
from databases.synthetic.dataset import write_dataset


@register_database
class Synthetic(Ptbxl):
    """Synthetic ECGs in the layout of PTB-XL, as `write_dataset` writes them."""

    name = "synthetic"
    title = "Synthetic 12-lead ECGs"
    license = "Apache License 2.0, as this repository"
    doi = ""
    size = 0  # as many as are asked for
    rates = (100,)
    source = None

    @classmethod
    def download(cls, root: str | os.PathLike, **options: Any) -> Path:
        """Write the dataset; `options` are those of `write_dataset`."""
        return write_dataset(root, **options)

"""Splits as data: the parts of a dataset, what they are called, and that no patient is in two of them."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from utils.errors import DataError

if TYPE_CHECKING:
    from preprocessing.dataset import Dataset

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "training records", "val": "validation records", "test": "test records"}

_logger = logging.getLogger(__name__)


def check_patients(dataset: Dataset) -> None:
    """Refuse a dataset in which a patient has records in more than one split.

    A published selection that does this, kept to reproduce it (``settings["reference"]``), gets a warning.
    """
    pairs = sorted(set(zip(dataset.patients.tolist(), dataset.splits.tolist(), strict=True)))
    crossing = list(dict.fromkeys(a for (a, _), (b, _) in itertools.pairwise(pairs) if a == b))
    if not crossing:
        return
    listed = ", ".join(map(str, crossing[:10])) + (", ..." if len(crossing) > 10 else "")
    message = (
        f"{dataset.name or 'dataset'}, task {dataset.task}: {len(crossing)} patients in more than one split: "
        f"patient leakage (patients {listed})"
    )
    if not dataset.settings.get("reference"):
        raise DataError(f"{message}; restore the official splits of the database, or use --split kfold")
    _logger.warning("%s, as in the reference: its results are optimistic", message)

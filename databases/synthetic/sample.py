"""A hundred synthetic records for a first run that needs no download."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from databases.synthetic.dataset import check_parameters, is_written, write_dataset

RECORDS = 100
RATES = (100, 500)  # Hz
FOLDER = "data/sample"

logger = logging.getLogger(__name__)


def write_sample(to: str | os.PathLike = FOLDER) -> Path:
    """Write the sample where it is not there yet; its labels are those of the simulated findings."""
    if not is_written(Path(to), check_parameters(RECORDS, 0, RATES)):
        write_dataset(to, RECORDS, rates=RATES)
        logger.info(f"wrote {RECORDS} synthetic records with their labels to {to}")
    return Path(to)

"""Label sets of whole records from the statements of a database: the PhysioNet/CinC and CPSC challenges."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

import numpy as np

from databases import Database
from databases.cinc2017 import LABELS as LABELS_2017
from databases.cpsc2018 import LABELS as LABELS_2018
from databases.snomed import scored_classes
from preprocessing.targets.records import of_records, split_patients
from preprocessing.targets.registry import TargetOptions, Targets, register_targets
from utils.errors import DataError

logger = logging.getLogger(__name__)


def _build(classes: Sequence[str], database: Database, options: TargetOptions) -> Targets:
    """A column a class, 1 where the record has the statement; records without any are left out.

    Splits are stratified by class and, where there are several, by source.
    """
    records = database.records
    found = of_records(
        database, records.index, lambda record: database.annotations(record).statements, "labels"
    )
    labels = np.zeros((len(found), len(classes)), dtype=np.uint8)
    for row, statements in enumerate(found):
        labels[row] = [name in statements for name in classes]
    labeled = labels.any(axis=1)
    if not labeled.any():
        raise DataError(
            f"no record in {database.root} has a label of {database.name} ({', '.join(classes)}): copy the "
            "table of labels of the database beside its records"
        )
    rows = np.arange(len(records)) if options.keep_unlabeled else np.flatnonzero(labeled)
    if len(rows) < len(records):
        logger.info(
            f"{len(records) - len(rows)} of {len(records)} records of {database.name} have none of the "
            f"{len(classes)} classes and are left out"
        )
    strata, patients = labels[rows], records["patient"].to_numpy()[rows]
    if "source" in records:
        sources = records["source"].to_numpy()[rows]
        strata = np.concatenate([strata, sources[:, None] == np.unique(sources)], axis=1)
        logger.info(
            f"{database.name} does not say who was recorded: records of one person, as the sources PTB, "
            "PTB-XL and INCART have them, may lie in different splits"
        )
    splits, names = split_patients(patients, strata)
    return Targets(rows, labels[rows], list(classes), splits, names)


for _name, _kind, _classes, _rate, _seconds in (
    ("cinc2017", "multiclass", tuple(LABELS_2017), 300, 30),
    ("cpsc2018", "multilabel", LABELS_2018, 500, 10),
    ("cinc2020", "multilabel", scored_classes(2020), 500, 10),
    ("cinc2021", "multilabel", scored_classes(2021), 500, 10),
):
    _of_classes = functools.partial(_build, _classes)
    _of_classes.__module__ = __name__
    register_targets(
        "classes",
        kind=_kind,
        build=_of_classes,
        databases=(_name,),
        sampling_rate=_rate,
        seconds=_seconds,
    )

"""Label sets of whole records from the statements of a database: the PhysioNet/CinC and CPSC challenges."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from databases import Database
from databases.cinc2017 import LABELS as LABELS_2017
from databases.cpsc2018 import LABELS as LABELS_2018
from databases.snomed import scored_classes
from preprocessing.targets.records import of_records, split_patients
from preprocessing.targets.registry import TargetOptions, Targets, register_targets
from utils.errors import DataError, UsageError

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


def _build_slices(classes: Sequence[str], database: Database, options: TargetOptions) -> Targets:
    """The labels of each record for slices of it, as the reference cuts records longer than the input.

    Slices lie within their record and begin every `step` of their length; a shorter record is one slice.
    """
    step = options.settings["step"]
    if not 0 < step <= 1:
        raise UsageError(f"target option 'step' is {step:g}: choose a share of the length, above 0 up to 1")
    whole, length = _build(classes, database, options), options.samples
    ids, records = database.records.index, database.records
    cut = []
    for row in whole.rows:
        rate = options.sampling_rate / records["sampling_rate"].iloc[row]
        last = max(int(database.samples(ids[row]) * rate) - length, 0)
        cut.append(np.union1d(np.arange(0, last + 1, length), np.arange(0, last + 1, round(step * length))))
    source, starts = np.repeat(np.arange(len(cut)), [len(first) for first in cut]), np.concatenate(cut)
    assert whole.splits is not None
    return Targets(
        whole.rows[source],
        whole.values[source],
        whole.classes,
        whole.splits[source],
        whole.split_names,
        starts,
        overlapping=starts % length > 0,
    )


for _name, _kind, _classes, _rate, _seconds in (
    ("cinc2017", "multiclass", tuple(LABELS_2017), 300, 30),
    ("cpsc2018", "multilabel", LABELS_2018, 500, 10),
    ("cinc2020", "multilabel", scored_classes(2020), 500, 10),
    ("cinc2021", "multilabel", scored_classes(2021), 500, 10),
):
    _shape: dict[str, Any] = {
        "kind": _kind,
        "databases": (_name,),
        "sampling_rate": _rate,
        "seconds": _seconds,
    }
    _of_classes = functools.partial(_build, _classes)
    _of_classes.__module__ = __name__
    register_targets("classes", build=_of_classes, **_shape)
    if _name in ("cinc2020", "cinc2021"):  # whose records of INCART and PTB last minutes
        _of_slices = functools.partial(_build_slices, _classes)
        _of_slices.__module__ = __name__
        register_targets("slices", build=_of_slices, windows=True, options={"step": 0.4}, **_shape)

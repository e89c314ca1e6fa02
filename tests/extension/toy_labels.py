"""A label set: two columns of the toy database's table of records."""

import numpy as np

from preprocessing.targets import Targets, register_targets

CLASSES = ["tall", "spike"]


def build(database, options) -> Targets:
    """All records, with both columns."""
    return Targets(np.arange(len(database.records)), database.records[CLASSES].to_numpy(np.uint8), CLASSES)


register_targets("toy_shapes", kind="multilabel", build=build, databases=["toyecg"])

"""Target sets of the shipped segmentation tasks on the toy database, as a plugin."""

import numpy as np

import tests.extension.toy_backbone
import tests.extension.toy_database  # noqa: F401
from preprocessing.targets import Targets, register_targets
from tests.extension.recordings import SPIKE


def _spikes(database, options) -> np.ndarray:
    """Whether a sample belongs to the spike, (records, samples) of bool."""
    mask = np.zeros((len(database.records), options.samples), dtype=bool)
    mask[database.records["spike"].to_numpy(bool), SPIKE] = True
    return mask


def one_class_each(database, options) -> Targets:
    """Class numbers: background or spike."""
    mask = _spikes(database, options)
    return Targets(np.arange(len(mask)), mask.astype(np.uint8), ["background", "spike"])


def any_classes(database, options) -> Targets:
    """A column for the spike, and one for the second before its end."""
    mask = _spikes(database, options)
    late = mask & (np.arange(mask.shape[1]) >= SPIKE.stop - 20)
    return Targets(np.arange(len(mask)), np.stack([mask, late], axis=-1).astype(np.uint8), ["spike", "late"])


register_targets("spike_stage", kind="segmentation", build=one_class_each, databases=["toyecg"])
register_targets("spike_parts", kind="multilabel_segmentation", build=any_classes, databases=["toyecg"])

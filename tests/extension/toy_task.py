"""A segmentation task of its own: which samples belong to the spike, scored by intersection over union."""

import numpy as np

from preprocessing.targets import Targets, register_targets
from tests.extension.recordings import SPIKE
from training.tasks import Task, register_task


@register_task("toy_segmentation")
class ToySegmentation(Task):
    """One probability for each sample and class."""

    loss_name = "bce"
    activation = "sigmoid"
    select_on = "iou"
    aligned = True

    def score(self, targets, predictions, decision=None):
        """Intersection over union of all samples."""
        ground_truth, answer = np.asarray(targets, bool), predictions >= 0.5
        return {"iou": float((ground_truth & answer).sum() / max(1, (ground_truth | answer).sum()))}

    def describe(self, prediction, decision, sampling_rate):
        """How long the spike lasts, in seconds."""
        return {"spike_s": float((prediction >= 0.5).sum() / sampling_rate)}

    def lines(self, described):
        """One line for the console."""
        return [f"spike: {described['spike_s']:.2f} s"]


def build(database, options) -> Targets:
    """A mask (samples, 1) for each record."""
    masks = np.zeros((len(database.records), options.samples, 1), np.uint8)
    masks[database.records["spike"].to_numpy(bool), SPIKE] = 1
    return Targets(np.arange(len(masks)), masks, ["spike"])


register_targets("toy_spikes", kind="toy_segmentation", build=build, databases=["toyecg"])

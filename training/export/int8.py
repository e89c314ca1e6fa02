"""Weights and products in 8 bits, where that costs next to nothing of the score on the validation records."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing import Dataset
from preprocessing.options import open_dataset
from training.card import Card
from training.evaluate import predict_dataset
from training.export.onnx_file import packages, read_onnx, write_onnx
from training.export.onnx_predictor import OnnxPredictor
from training.tasks.base import Decision, Task
from training.tasks.classification import frequent_classes
from utils.bootstrap import METRICS, paired_difference, patient_draws
from utils.errors import TwelveLeadError, UsageError

MOST_LOST = 0.003  # of the score that chose the checkpoint
LEVEL = 0.95  # of the interval of the loss, all of which must lie below
LEAST_PATIENTS = 20  # with a class and without it; a bootstrap of fewer says too little
RESAMPLES = 500


class LosesTooMuch(TwelveLeadError):
    """Weights in 8 bits are refused; ``figures`` as `quantize_onnx` returns them."""

    def __init__(self, reason: str, figures: dict[str, Any]):
        super().__init__(f"{reason}: not written")
        self.figures = figures


def validation_records(card: Card, data_dir: str | os.PathLike, limit: int = 0) -> Dataset:
    """The records that a model's checkpoint was chosen on, from a copy of its database."""
    named = {"data_dir": str(data_dir), "task": card.task, "sampling_rate": card.inputs.sampling_rate}
    dataset = open_dataset({**card.config, **named})
    if list(dataset.classes) != card.classes:
        raise UsageError(f"the model knows {card.classes}, but {data_dir} has {list(dataset.classes)}")
    val = dataset.split(dataset.selection)
    return val.select(limit, 0) if limit else val


def quantize(content: bytes) -> bytes:
    """Weights in 8 bits, and what they are multiplied with quantized by its own range (dynamic range)."""
    onnx, _ = packages()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory(prefix="twelvelead-") as temporary:
        path = Path(temporary) / "model.onnx"
        root.setLevel(logging.ERROR)  # it recommends a preparation that our networks do not need
        try:
            # unsigned: convolutions with signed weights take several times as long on CPUs
            quantize_dynamic(onnx.load_model_from_string(content), path, weight_type=QuantType.QUInt8)
        finally:
            root.setLevel(level)
        return path.read_bytes()


def quantize_onnx(path: Path, out: Path, records: Dataset) -> dict[str, Any]:
    """Write an exported file with weights in 8 bits, unless it may lose more than `MOST_LOST` of the score.

    Parameters
    ----------
    path, out : Path
        The exported file, and the one to write.
    records : Dataset
        Validation records.

    Returns
    -------
    dict
        ``score``: its name; ``float32``, ``int8``, ``lost``; ``lost_up_to``: upper end of the 95 % interval
        of the loss; ``records``, ``patients``, ``resamples``; ``left_out``: classes with too few patients
        for it.

    Raises
    ------
    LosesTooMuch
        It loses more, or the records cannot show that it does not, with the figures; nothing is written.
    """
    content, card, notes = read_onnx(path)
    before = OnnxPredictor(path)
    with tempfile.TemporaryDirectory(prefix="twelvelead-") as temporary:
        small = Path(temporary) / "model.onnx"
        quantized = quantize(content)
        write_onnx(small, quantized, card, notes | {"int8": {}})
        figures = compare_scores(before, OnnxPredictor(small), records)
    reason = refusal(figures)
    if reason:
        raise LosesTooMuch(reason, figures)
    write_onnx(out, quantized, card, notes | {"int8": figures})
    return figures


def compare_scores(before: OnnxPredictor, after: OnnxPredictor, records: Dataset) -> dict[str, Any]:
    """The score that chose the checkpoint by both, and how much more patients could show to be lost."""
    task, targets = before.task, np.asarray(records.targets)
    both = [predict_dataset(p, records) for p in (before, after)]
    scores = [float(task.score(targets, p, before.decision)[task.select_on]) for p in both]
    patients = np.asarray(records.patients)
    figures: dict[str, Any] = {
        "score": task.select_on,
        "float32": scores[0],
        "int8": scores[1],
        "lost": (scores[0] - scores[1]) * (1 if task.higher_is_better else -1),
        "most_lost": MOST_LOST,
        "lost_up_to": None,
        "records": len(records),
        "patients": len(np.unique(patients)),
        "resamples": RESAMPLES,
        "left_out": [],
    }
    if task.select_on in METRICS:
        kept = frequent_classes(targets, patients, LEAST_PATIENTS)
        figures["left_out"] = [name for i, name in enumerate(before.classes) if i not in kept]
        if len(kept):
            labels, old, new = (part[:, kept] for part in (targets, *both))
            difference = paired_difference(labels, old, new, patients, task.select_on, RESAMPLES, level=LEVEL)
            figures["lost_up_to"] = difference["high"] if task.higher_is_better else -difference["low"]
    elif figures["patients"] >= LEAST_PATIENTS:
        figures["lost_up_to"] = loss_interval(task, before.decision, targets, both, patients)
    return figures


def loss_interval(
    task: Task, decision: Decision, targets: np.ndarray, both: Sequence[np.ndarray], patients: np.ndarray
) -> float:
    """Upper end of the interval of the loss, for a score that has no faster bootstrap."""
    drawn, numbers = patient_draws(len(targets), patients, RESAMPLES)
    losses = []
    for weights in drawn:
        rows = np.repeat(np.arange(len(targets)), weights[numbers])
        old, new = (task.score(targets[rows], p[rows], decision)[task.select_on] for p in both)
        losses.append((old - new) * (1 if task.higher_is_better else -1))
    return float(np.quantile(losses, (1 + LEVEL) / 2))


def refusal(figures: dict[str, Any]) -> str:
    """Why weights in 8 bits are refused; empty where they are not."""
    of = f"the {figures['score']} of {figures['records']} validation records"
    if not figures["lost"] <= MOST_LOST:
        return (
            f"with weights in 8 bits {of} falls from {figures['float32']:.4f} to {figures['int8']:.4f}, by "
            f"more than {MOST_LOST}"
        )
    if figures["lost_up_to"] is None:
        return (
            f"that weights in 8 bits lose at most {MOST_LOST} of {of} cannot be shown: "
            f"{figures['patients']} patients, and no class that {LEAST_PATIENTS} have and {LEAST_PATIENTS} "
            "lack; use more records"
        )
    if not figures["lost_up_to"] <= MOST_LOST:
        return (
            f"that weights in 8 bits lose at most {MOST_LOST} of {of} is not shown: the loss is "
            f"{figures['lost']:.4f}, with more patients it may be {figures['lost_up_to']:.4f}; use more "
            "records"
        )
    return ""

"""Weights and products in 8 bits, where that costs next to nothing of the score on the validation records."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from preprocessing import Dataset
from preprocessing.options import open_dataset
from training.card import Card
from training.evaluate import predict_dataset
from training.export.onnx_file import packages, read_onnx, write_onnx
from training.export.onnx_predictor import OnnxPredictor
from utils.errors import TwelveLeadError, UsageError

MOST_LOST = 0.003  # of the score that chose the checkpoint


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
    """Write an exported file with weights in 8 bits, unless it loses more than `MOST_LOST` of the score.

    Parameters
    ----------
    path, out : Path
        The exported file, and the one to write.
    records : Dataset
        Validation records.

    Returns
    -------
    dict
        ``score``: its name; ``float32``, ``int8``, ``lost``; ``records``.

    Raises
    ------
    TwelveLeadError
        It loses more, with the figures; nothing is written.
    """
    content, card, notes = read_onnx(path)
    before = OnnxPredictor(path)
    with tempfile.TemporaryDirectory(prefix="twelvelead-") as temporary:
        small = Path(temporary) / "model.onnx"
        quantized = quantize(content)
        write_onnx(small, quantized, card, notes | {"int8": {}})
        figures = compare_scores(before, OnnxPredictor(small), records)
    if not figures["lost"] <= MOST_LOST:
        raise TwelveLeadError(
            f"with weights in 8 bits the {figures['score']} of {figures['records']} validation records falls "
            f"from {figures['float32']:.4f} to {figures['int8']:.4f}, by more than {MOST_LOST}: not written"
        )
    write_onnx(out, quantized, card, notes | {"int8": figures})
    return figures


def compare_scores(before: OnnxPredictor, after: OnnxPredictor, records: Dataset) -> dict[str, Any]:
    """The score that chose the checkpoint, by both."""
    task = before.task
    scores = [
        float(task.score(records.targets, predict_dataset(p, records), before.decision)[task.select_on])
        for p in (before, after)
    ]
    lost = (scores[0] - scores[1]) * (1 if task.higher_is_better else -1)
    return {
        "score": task.select_on,
        "float32": scores[0],
        "int8": scores[1],
        "lost": lost,
        "most_lost": MOST_LOST,
        "records": len(records),
    }

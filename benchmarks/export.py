"""Whether every model can be exported, how near the file's answers are, and what it costs and saves.

python -m benchmarks export --data_dir data/ptb

Rows that the file has already are kept; ``--weights`` and ``--models`` measure theirs again. Shipped weights:
differences of probabilities on random records and on records of fold 9, time beside the
framework on one thread, and weights in 8 bits. Every registered classifier: a small one with random weights.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.rows import DATA
from benchmarks.speed.machine import describe
from preprocessing import Dataset
from training.card import WEIGHTS, Card, Inputs, Outputs
from training.checkpoint import ROOT, read_card, write_checkpoint
from training.export.int8 import LosesTooMuch, quantize_onnx, validation_records
from training.export.onnx_predictor import OnnxPredictor
from training.export.write import export_onnx, random_records
from training.model_info import PACKAGES, model_info, model_names
from training.predictor import Predictor, load_predictor
from utils.config import Options, option
from utils.ecg import LEADS
from utils.errors import TwelveLeadError
from utils.files import read_json, write_json
from utils.seeds import seed_everything

BATCHES = (1, 32)
PRETRAINED = ROOT / "checkpoints" / "pretrained"


@dataclass
class ExportBenchmarkOptions(Options):
    """What ``export`` measures and where it writes."""

    data_dir: Path | None = option(None, "folder of PTB-XL, for real records and 8 bits", scope="machine")
    weights: list[str] = option([], "shipped weights (default: all)")
    models: list[str] = option([], "registered models (default: all)")
    records: int = option(64, "real records that probabilities are compared on", min=1)
    int8_records: int = option(0, "validation records that 8 bits are scored on (0: all)", min=0)
    rounds: int = option(5, "times of each measurement, the best counts", min=1)
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


def _difference(a: Predictor, b: Predictor, signals: np.ndarray) -> float:
    return float(np.abs(a.predict(signals) - b.predict(signals)).max())


def _seconds(predictors: Sequence[Predictor], batch: int, rounds: int) -> list[float]:
    """Best time of a batch for each predictor; they take turns."""
    signals = random_records(predictors[0], batch)
    best = [float("inf")] * len(predictors)
    for number in range(rounds + 1):
        for index, predictor in enumerate(predictors):
            start = time.perf_counter()
            predictor.predict(signals, batch)
            if number:  # the first one warms up
                best[index] = min(best[index], time.perf_counter() - start)
    return best


def _real_records(card: Card, options: ExportBenchmarkOptions, limit: int) -> Dataset | None:
    """Validation records of PTB-XL, for the models that were trained on it."""
    if options.data_dir is None or len(card.inputs.leads) != len(LEADS):
        return None
    return validation_records(card, options.data_dir, limit)


def _real_signals(predictor: Predictor, options: ExportBenchmarkOptions) -> np.ndarray | None:
    """Records in mV; for a model of one lead their lead II at its rate."""
    if options.data_dir is None:
        return None
    card = predictor.card
    records = _real_records(card, options, options.records)
    if records is not None:
        return np.asarray(records.signals[: options.records])
    from preprocessing import load_ptbxl
    from preprocessing.transforms.resample import resample

    fold_9 = load_ptbxl(options.data_dir, "superdiagnostic").split("val").select(options.records, 0)
    leads = np.asarray(fold_9.signals[: options.records])[:, :, 1:2]
    return np.stack([resample(lead, 100, predictor.sampling_rate) for lead in leads]).astype(np.float32)


def measure_weights(name: str, options: ExportBenchmarkOptions) -> dict[str, Any]:
    """Export shipped weights and measure the file."""
    with tempfile.TemporaryDirectory() as temporary:
        path, small = Path(temporary) / "model.onnx", Path(temporary) / "model.int8.onnx"
        export_onnx(PRETRAINED / name, path)
        predictor, exported = load_predictor(PRETRAINED / name, threads=1), OnnxPredictor(path, threads=1)
        card = predictor.card
        row: dict[str, Any] = {
            "model": card.name,
            "framework": card.framework,
            "classes": len(card.classes),
            "random": _difference(predictor, exported, random_records(predictor, 16)),
            "bytes": {"weights": (PRETRAINED / name / WEIGHTS[card.framework]).stat().st_size},
        }
        signals = _real_signals(predictor, options)
        if signals is not None:
            row |= {"real": _difference(predictor, exported, signals), "records": len(signals)}
        predictors: list[Predictor] = [predictor, exported]
        records = _real_records(card, options, options.int8_records)
        if records is not None:
            row["int8"] = _quantized(path, small, records)
            if small.exists():
                predictors.append(OnnxPredictor(small, threads=1))
        files = {"onnx": path, "int8": small}
        row["bytes"] |= {kind: file.stat().st_size for kind, file in files.items() if file.exists()}
        columns = ("framework", "onnx", "int8")
        row["seconds"] = {
            str(batch): dict(zip(columns, _seconds(predictors, batch, options.rounds), strict=False))
            for batch in BATCHES
        }
    return row


def _quantized(path: Path, small: Path, records: Dataset) -> dict[str, Any]:
    try:
        return quantize_onnx(path, small, records)
    except LosesTooMuch as error:
        return error.figures | {"refused": str(error)}


def measure_model(name: str) -> dict[str, Any]:
    """Export a small model of a registered architecture with random weights."""
    case = model_info(name).cases[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder, path = Path(temporary) / "net", Path(temporary) / "model.onnx"
        card = write_random(folder, name, case.options)
        row: dict[str, Any] = {"framework": card.framework, "options": dict(case.options)}
        try:
            export_onnx(folder, path)
        except TwelveLeadError as error:
            return row | {"refused": str(error)}
        predictor, exported = load_predictor(folder, threads=1), OnnxPredictor(path, threads=1)
        return row | {"random": _difference(predictor, exported, random_records(predictor, 16))}


def write_random(folder: Path, name: str, options: Any) -> Card:
    """A checkpoint of a registered model with random weights."""
    info, classes = model_info(name), tuple("ABCDE")
    seed_everything(0)
    sizes = {"num_classes": len(classes), "samples": 1000, "leads": 12} | dict(options)
    if info.framework == "keras":
        import models_tf.backend  # noqa: F401  (first: it decides on Keras' settings)
    model = PACKAGES[info.framework].create_model(name, **sizes)
    save: Callable[[Path], None]
    if info.framework == "torch":
        from safetensors.torch import save_file

        state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
        save = partial(save_file, state)
    else:
        from training.keras_io import save_weights

        save = partial(save_weights, model)
    samples, count = sizes["samples"], sizes["leads"]
    leads = LEADS if count == len(LEADS) else tuple(f"lead {number}" for number in range(count))
    inputs = Inputs(leads, 100, samples, {"mean": 0.01, "std": 0.25}, "mV")
    card = Card(info.framework, model.config, "random", "multilabel", inputs, Outputs(classes))
    write_checkpoint(folder, card, save)
    return read_card(folder)


def run_export(options: ExportBenchmarkOptions) -> Path:
    """Measure all of it and write it to the file of the page."""
    import torch

    torch.set_num_threads(1)
    shipped = options.weights or sorted(path.parent.name for path in PRETRAINED.glob("*/card.json"))
    path = options.data / "export.json"
    before = read_json(path) if path.exists() else {}
    result: dict[str, Any] = {"weights": {}, "models": {}} | before
    result |= {"machine": describe(), "rounds": options.rounds, "batches": list(BATCHES)}
    jobs = [("weights", name, partial(measure_weights, name, options)) for name in shipped]
    jobs += [("models", name, partial(measure_model, name)) for name in options.models or model_names()]
    again = {*options.weights, *options.models}
    for kind, name, measure in tqdm(jobs, desc="export", leave=False, disable=None):
        if name not in result[kind] or name in again:
            result[kind][name] = measure()
            result[kind] = dict(sorted(result[kind].items()))
            write_json(path, result)
    return path

"""A checkpoint of either framework as an ONNX file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import find_checkpoint, read_card
from training.export.onnx_file import packages, write_onnx
from training.export.onnx_predictor import OnnxModel
from training.predictor import Predictor, load_predictor
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json, write_json

TOLERANCE = 1e-4  # of a probability


def export_onnx(
    path: str | os.PathLike, out: str | os.PathLike, output_dir: str | os.PathLike = "."
) -> dict[str, Any]:
    """Write a trained model as an ONNX file from millivolts to probabilities.

    Parameters
    ----------
    path : str or path-like
        Checkpoint folder, name of a run, or name of weights that come with the repository.
    out : str or path-like
        The file to write.
    output_dir : path-like
        Folder that holds ``checkpoints/``.

    Returns
    -------
    dict
        ``max_abs_error``: largest difference from the framework's probabilities on random records.

    Raises
    ------
    UsageError
        No such checkpoint, or the packages onnx and onnxruntime are missing.
    TwelveLeadError
        The model has an operator that ONNX lacks, or the file answers otherwise than the model.

    Notes
    -----
    A Keras model is traced on Keras' PyTorch backend, in a process of its own where Keras does not run on it.
    """
    packages()
    folder, out = find_checkpoint(path, output_dir), Path(out)
    card = read_card(folder)
    keras = sys.modules.get("keras")
    if card.framework == "keras" and (keras is None or keras.backend.backend() != "torch"):
        return _export_in_process(folder, out)
    return export_predictor(load_predictor(folder), out)


def export_predictor(predictor: Predictor, out: Path) -> dict[str, Any]:
    """Trace a loaded model, compare what the file answers with it, and write it."""
    from training.export.graph import FromMillivolts, network_of, trace

    network = FromMillivolts(network_of(predictor), predictor)
    content = trace(network, predictor.samples, len(predictor.leads))
    error = _compare(predictor, OnnxModel(content, out))
    notes = {"max_abs_error": error}
    write_onnx(out, content, predictor.card, {"parity": notes})
    return notes


def random_records(predictor: Predictor, count: int, seed: int = 0) -> np.ndarray:
    """Noise of the amplitude of ECGs in mV, (count, T, leads)."""
    shape = (count, predictor.samples, len(predictor.leads))
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(0.25)


def _compare(predictor: Predictor, model: OnnxModel) -> float:
    """Largest difference of probabilities over batches of other sizes than the traced one."""
    from training.export.inside import preprocess

    largest = 0.0
    for count in (1, 3):
        signals = random_records(predictor, count, seed=count)
        found = model.run(preprocess(predictor.standardizer, signals))[1]
        expected = predictor.predict(signals)
        if found.shape != expected.shape:
            raise DataError(f"the exported network answers {found.shape}, the model {expected.shape}")
        largest = max(largest, float(np.abs(found - expected).max()))
    if not largest <= TOLERANCE:
        raise TwelveLeadError(
            f"the exported network differs from '{predictor.card.name}' by {largest:.2g} in a probability, "
            f"more than {TOLERANCE:g}: it was not written"
        )
    return largest


def _export_in_process(folder: Path, out: Path) -> dict[str, Any]:
    """Export a Keras model in a new process on Keras' PyTorch backend."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": path}
    with tempfile.TemporaryDirectory(prefix="twelvelead-") as temporary:
        answer = Path(temporary) / "answer.json"
        words = [str(folder.resolve()), str(out.resolve()), str(answer)]
        command = [sys.executable, "-m", "training.export.write", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not answer.exists():
            raise TwelveLeadError(
                f"the process that exports Keras models ended: {done.stderr.strip()[-500:]}"
            )
        result = read_json(answer)
    if "message" in result:
        kinds = {kind.__name__: kind for kind in (DataError, UsageError)}
        raise kinds.get(result["kind"], TwelveLeadError)(result["message"])
    return result


def _answer(folder: Path, out: Path, answer: Path) -> None:
    from utils import plugins

    try:
        plugins.load()
        import models_tf.backend  # noqa: F401  (now Keras runs on PyTorch)

        result: dict[str, Any] = export_onnx(folder, out)
    except TwelveLeadError as error:
        result = {"kind": type(error).__name__, "message": str(error)}
    write_json(answer, result)


if __name__ == "__main__":
    _answer(*map(Path, sys.argv[1:]))

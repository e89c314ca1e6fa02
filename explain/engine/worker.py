"""Maps of a Keras model from a separate process, for a session whose Keras does not run on PyTorch.

``python -m explain.engine.worker FOLDER`` reads the request in a folder and writes the maps, or the error.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json, read_npz, write_json, write_npz

if TYPE_CHECKING:
    from explain.methods import Settings
    from training.predictor import Predictor

_REQUEST, _ARRAYS, _MAPS, _ERROR = "request.json", "arrays.npz", "maps.npz", "error.json"
_LOGGER = logging.getLogger(__name__)


def explain_in_process(
    predictor: Predictor, method: str, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """Explain standardized records in a new process on Keras' PyTorch backend.

    Shapes: x (N, T, leads), targets (N,) -> (N, T, leads).
    """
    _LOGGER.info("Keras does not run on PyTorch here: explaining in a separate process")
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in values.items() if name not in arrays}
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": path}
    with tempfile.TemporaryDirectory(prefix="twelvelead-") as temporary:
        folder = Path(temporary)
        request = {"checkpoint": str(predictor.folder.resolve()), "method": method, "settings": plain}
        write_json(folder / _REQUEST, request)
        write_npz(folder / _ARRAYS, x=x, targets=targets, **arrays)
        command = [sys.executable, "-m", "explain.engine.worker", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if (folder / _MAPS).exists():
            return read_npz(folder / _MAPS, "explain again")["maps"]
        if (folder / _ERROR).exists():
            raise _error(read_json(folder / _ERROR))
        raise TwelveLeadError(f"the process that explains Keras models ended: {done.stderr.strip()[-500:]}")


def _error(answer: dict[str, Any]) -> TwelveLeadError:
    from explain.methods import CannotExplain

    kinds = {kind.__name__: kind for kind in (CannotExplain, DataError, UsageError)}
    return kinds.get(answer["kind"], TwelveLeadError)(answer["message"])


def main(folder: Path) -> None:
    """Answer the request in a folder."""
    from explain.engine.classifier import load_classifier
    from explain.engine.fast import speed_up
    from explain.methods import Settings, explain, get_method
    from utils import plugins

    try:
        plugins.load()
        request, arrays = read_json(folder / _REQUEST), read_npz(folder / _ARRAYS, "explain again")
        x, targets = arrays.pop("x"), arrays.pop("targets")
        classifier = load_classifier(request["checkpoint"])
        if "n_samples" in get_method(request["method"]).uses:
            speed_up(classifier)
        settings = Settings(**{**request["settings"], **arrays})
        maps = explain(classifier, request["method"], x, targets, settings)
    except TwelveLeadError as error:
        write_json(folder / _ERROR, {"kind": type(error).__name__, "message": str(error)})
        return
    write_npz(folder / _MAPS, maps=maps)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

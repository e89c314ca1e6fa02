"""Keras weights and state in and out of files."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import models_tf
from training.card import Card, build
from training.predictor import Forward
from utils.errors import DataError
from utils.text import short_reason
from utils.threads import thread_count

logger = logging.getLogger(__name__)


def keras_forward(model: keras.Model) -> Forward:
    """The model in inference mode as a function from signals to predictions."""
    return lambda batch: np.asarray(model.predict_on_batch(batch), dtype=np.float32)


def has_gpu() -> bool:
    """Whether Keras' backend sees a GPU."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def limit_threads(asked: int = 0) -> None:
    """Use as many CPU threads as asked, and otherwise no more than this process may use."""
    count = thread_count(asked)
    if keras.backend.backend() == "torch":
        from training.torch_io import limit_threads as limit

        limit(asked)
    elif keras.backend.backend() == "tensorflow" and count != os.cpu_count():
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(count)
            tf.config.threading.set_inter_op_parallelism_threads(2)
        except RuntimeError:  # in a program that has computed with TensorFlow before
            if asked:
                logger.info("note: TensorFlow is running already and keeps its number of threads")


def load_weights(model: keras.Model, path: Path) -> None:
    """Load HDF5 weights, with a clear error when they do not fit."""
    try:
        # not raised at once: Keras would leave the file open, and HDF5 then gives its old content again
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            model.load_weights(path)
        # what Keras warns of here are layers that keep their random weights
        reasons = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unfit(model, path, str(error)) from error
    if reasons:
        raise _unfit(model, path, reasons[0])


def _unfit(model: keras.Model, path: Path, reason: str) -> DataError:
    first = reason.strip().splitlines()[0]
    return DataError(
        f"{path} does not hold the weights of '{model.name}' with its card's sizes: {first[:300]}"
    )


def save_weights(model: keras.Model, path: Path) -> None:
    """Save HDF5 weights; where the room does not suffice, fail before HDF5 begins to write.

    HDF5 crashes the process when the disk is full, so a file of that size is written first.
    """
    overhead = 4096  # of HDF5, for each weight with its groups
    with open(path, "wb") as file:
        file.write(bytes(sum(np.asarray(v).nbytes + overhead for v in model.weights)))
        file.flush()
        os.fsync(file.fileno())
    with warnings.catch_warnings():
        # Keras reads TensorFlow variables in a way that NumPy 2 warns about
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save_weights(path)


def save_safetensors(model: keras.Model, path: Path) -> None:
    """Save weights as safetensors; load_keras reads them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        save_file({name: np.array(np.asarray(weight)) for name, weight in _numbered(model).items()}, path)


def _numbered(model: keras.Model) -> dict[str, Any]:
    """Weights by their number and name: names of layers count the models that were built before."""
    return {f"{number:04d}.{weight.name}": weight for number, weight in enumerate(model.weights)}


def _load_safetensors(model: keras.Model, path: Path) -> None:
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is not a readable safetensors file ({short_reason(error)})") from error
    weights = _numbered(model)
    wanted = {name: tuple(weight.shape) for name, weight in weights.items()}
    found = {name: array.shape for name, array in arrays.items()}
    different = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
    if different:
        raise _unfit(model, path, f"{different[0]} is missing there, or has another shape")
    for name, weight in weights.items():
        weight.assign(arrays[name])


def load_keras(path: Path, card: Card) -> tuple[keras.Model, Forward]:
    """Build the model of a card and load its weights."""
    model = build(models_tf.create_model, card, path)
    (_load_safetensors if path.suffix == ".safetensors" else load_weights)(model, path)
    return model, keras_forward(model)


def copy_weights(source: keras.Model, target: keras.Model) -> list[str]:
    """Copy every layer but the head from one model to another of the same architecture."""
    head = []
    if len(source.weights) != len(target.weights):
        raise DataError(
            f"'{source.name}' and '{target.name}' have different layers: --init needs the same model"
        )
    for old, new in zip(source.weights, target.weights, strict=True):
        if new.path.startswith("head/"):
            head.append(new.path)
        elif old.shape != new.shape:
            raise DataError(
                f"--init: {new.path} has shape {tuple(old.shape)} there and {tuple(new.shape)} here"
            )
        else:
            new.assign(old)
    return head


def _state_variables(model: keras.Model) -> dict[str, Any]:
    # model.variables holds the seeds of dropout too, without which a resumed run would draw other masks
    metrics = {id(v) for v in model.metrics_variables}
    variables = [v for v in model.variables if id(v) not in metrics]
    return {f"model/{i}": v for i, v in enumerate(variables)} | {
        f"optimizer/{i}": v for i, v in enumerate(model.optimizer.variables)
    }


def keras_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights, optimizer state and random state of a compiled model."""
    # keras.ops.convert_to_numpy makes NumPy 2 warn about TensorFlow's variables
    arrays = {key: np.array(np.asarray(v)) for key, v in _state_variables(model).items()}
    return arrays | {key: state().cpu().numpy() for key, (state, _) in _torch_generators().items()}


def _torch_generators() -> dict[str, tuple[Callable[[], Any], Callable[[Any], None]]]:
    """Readers and writers of the generators that Keras' dropout draws from on PyTorch, whatever its seed."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    generators = {"random/cpu": (torch.get_rng_state, torch.set_rng_state)}
    if torch.cuda.is_available():
        generators["random/cuda"] = (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
    return generators


def restore_keras_state(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Restore what `keras_state` returned."""
    variables = _state_variables(model)
    saved = {key for key in arrays if not key.startswith("random/")}
    if set(variables) != saved or any(tuple(v.shape) != arrays[k].shape for k, v in variables.items()):
        raise DataError(f"the saved state is not one of '{model.name}' with this optimizer: use --overwrite")
    for key, variable in variables.items():
        variable.assign(arrays[key])
    for key, (_, write) in _torch_generators().items():
        if key in arrays:
            import torch

            write(torch.from_numpy(arrays[key]))
        else:
            logger.info(
                f"note: the saved state has no '{key}' generator: dropout differs from an uninterrupted run"
            )

"""Silence for native libraries that write to the terminal before anybody can ask them not to."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from utils.errors import UsageError
from utils.text import printable


@contextlib.contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for a moment; Python exceptions are not affected.

    TensorFlow's C++ code reports missing GPU drivers while it is imported, before its log level is read.
    Set ``TWELVELEAD_VERBOSE=1`` to see those lines.
    """
    try:
        saved = None if os.environ.get("TWELVELEAD_VERBOSE") else os.dup(2)
    except OSError:  # no standard error at all
        saved = None
    if saved is None:
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)


BACKENDS = ("tensorflow", "torch")
_SETTINGS = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
_LIMITS = ("max_epochs", "max_steps_per_epoch")
logger = logging.getLogger(__name__)


def choose_backend() -> str:
    """Backend of Keras: KERAS_BACKEND, else TensorFlow, whatever a keras.json says."""
    named = os.environ.get("KERAS_BACKEND", "").strip()
    if named and named not in BACKENDS:
        raise UsageError(
            f"KERAS_BACKEND={printable(named, 40)}: the Keras models run on {' or '.join(BACKENDS)}; set one "
            "of them, or unset the variable"
        )
    os.environ["KERAS_BACKEND"] = named or BACKENDS[0]
    return os.environ["KERAS_BACKEND"]


def import_keras() -> None:
    """Import Keras with the settings that the models need, without the noise of a machine without GPU."""
    backend = choose_backend()
    with native_stderr_silenced():
        try:
            import keras
        except (ValueError, TypeError, AttributeError) as error:  # of its settings
            folder = os.environ.get("KERAS_HOME", "~/.keras")
            raise UsageError(
                f"Keras does not start: {error}; correct {folder}/keras.json (or remove it), and the "
                "environment variables KERAS_..."
            ) from error
        if backend == "tensorflow":
            import tensorflow

            # the search for GPUs itself complains, so it happens here
            for gpu in tensorflow.config.list_physical_devices("GPU"):
                tensorflow.config.experimental.set_memory_growth(gpu, True)
            # TensorFloat-32 keeps ten bits of a float32: too few for the reference's outputs to 1e-5
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    for name, needed in _SETTINGS.items():
        given = getattr(keras.config, name)()
        if given != needed:
            getattr(keras.config, f"set_{name}")(needed)
            logger.info(f"note: {name} is {needed}, which the models need, not {given} as in keras.json")
    for name in _LIMITS:
        if getattr(keras.config, name)() is not None:
            getattr(keras.config, f"set_{name}")(None)
            logger.info(
                f"note: KERAS_{name.upper()} is not used: --epochs and --limit say how much is trained"
            )

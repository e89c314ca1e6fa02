"""Silence for native libraries that write to the terminal before anybody can ask them not to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


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


def import_keras() -> None:
    """Import Keras and its backend without the noise of a machine that has no GPU."""
    with native_stderr_silenced():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            # the search for GPUs itself complains, so it happens here
            for gpu in tensorflow.config.list_physical_devices("GPU"):
                tensorflow.config.experimental.set_memory_growth(gpu, True)
            # TensorFloat-32 keeps ten bits of a float32: too few for the reference's outputs to 1e-5
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)

"""Records of any length through a model that answers along time: windows that overlap, joined on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from training.predictor import Predictor
from utils.errors import DataError, UsageError

Read = Callable[[int, int], np.ndarray]
_WINDOWS = 64  # of a forward pass


class Part(NamedTuple):
    """Predictions for the steps from `start` on, (T, C)."""

    start: int
    predictions: np.ndarray


def window_starts(samples: int, window: int, first: int = 0, count: int | None = None) -> list[int]:
    """First samples of the windows of a record: every half window, and one that ends with the record.

    ``first``, ``count``: of those windows, the ones to give.
    """
    last, hop = max(samples - window, 0), max(1, window // 2)
    every = range(0, last + hop, hop)  # never written out: a day has 17,000 windows
    return [min(start, last) for start in every[first : None if count is None else first + count]]


def predict_parts(predictor: Predictor, read: Read, samples: int, batch: int = _WINDOWS) -> Iterator[Part]:
    """Predictions for a record, piece by piece, in memory that does not depend on its length.

    A step that several windows cover gets the mean of their predictions, each window standardized by itself,
    as `Predictor.predict` does; a record shorter than a window is continued with its last sample.

    Parameters
    ----------
    predictor : Predictor
        Of a model that answers for every step.
    read : callable
        ``read(start, stop)`` gives these samples in mV, (stop - start, leads of the predictor).
    samples : int
        Of the record, at the rate of the predictor.
    batch : int
        Windows of a forward pass.

    Yields
    ------
    Part
        Pieces that follow each other, of the steps that no later window covers.

    Raises
    ------
    UsageError
        The model gives one answer for a record.
    DataError
        The record has no samples, or some that cannot be used.
    """
    task, window = predictor.task, predictor.samples
    if not task.aligned:
        raise UsageError(f"'{predictor.card.name}' answers for whole records, not for every sample")
    if samples < 1:
        raise DataError("the record has no samples")
    reduction, first = task.reduction, 0
    if window % (2 * reduction) and samples > window:
        raise UsageError(
            f"windows of {window} samples cannot overlap by half with {reduction} samples a step"
        )
    steps, done = -(-samples // reduction), 0
    total, counts = np.zeros((0, len(predictor.classes))), np.zeros(0)
    while chosen := window_starts(samples, window, first, batch):
        first += batch
        rows = predictor.predict(_windows(read, chosen, samples, window), len(chosen))
        last = min(steps, (chosen[-1] + window) // reduction)
        grown = last - done - len(total)
        total = np.concatenate([total, np.zeros((grown, total.shape[1]))])
        counts = np.concatenate([counts, np.zeros(grown)])
        for start, row in zip(chosen, rows, strict=True):
            place = start // reduction - done
            part = row[: len(total) - place]
            total[place : place + len(part)] += part
            counts[place : place + len(part)] += 1
        later = window_starts(samples, window, first, 1)
        following = later[0] // reduction if later else steps
        ready = following - done
        yield Part(done, (total[:ready] / counts[:ready, None]).astype(np.float32))
        total, counts, done = total[ready:], counts[ready:], following


def _windows(read: Read, starts: list[int], samples: int, window: int) -> np.ndarray:
    """Windows of a record, (n, window, leads), read at once."""
    first, last = starts[0], min(samples, starts[-1] + window)
    signal = np.asarray(read(first, last), np.float32)
    if signal.ndim != 2 or len(signal) != last - first:
        raise DataError(f"samples {first} to {last} were asked for, and what was read is {signal.shape}")
    if len(signal) < window:
        signal = np.pad(signal, ((0, window - len(signal)), (0, 0)), mode="edge")
    return np.stack([signal[start - first : start - first + window] for start in starts])


def predict_record(predictor: Predictor, signal: np.ndarray) -> np.ndarray:
    """Predictions for a record of any length, (T, leads) -> (steps, C)."""
    parts = predict_parts(predictor, lambda start, stop: signal[start:stop], len(signal))
    return np.concatenate([part.predictions for part in parts])


def find_peaks(predictor: Predictor, read: Read, samples: int, batch: int = _WINDOWS) -> np.ndarray:
    """R-peaks of a record that is read piece by piece, in seconds from its first sample.

    Parameters
    ----------
    predictor : Predictor
        Of the task ``rpeaks``.
    read, samples, batch
        As `predict_parts` takes them.

    Returns
    -------
    ndarray, shape (M,)
        Ascending.

    Raises
    ------
    UsageError
        The model was trained for another task.
    """
    task: Any = predictor.task
    if not hasattr(task, "decoder"):
        raise UsageError(f"'{predictor.card.name}' finds no R-peaks: its task is {task.kind}")
    decoder = task.decoder(predictor.decision)
    found = [decoder.feed(p.predictions[:, 0]) for p in predict_parts(predictor, read, samples, batch)]
    return np.concatenate([*found, decoder.finish()]) / task.rate

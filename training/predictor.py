"""One way to use any trained model: millivolts in, predictions out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.transforms.standardize import Standardizer
from training.card import Card
from training.checkpoint import find_checkpoint, is_onnx, read_card, weights_of
from training.tasks import create_task
from training.tasks.classification import calibrator_of, thresholds_of
from utils.calibration import Calibrator
from utils.errors import DataError
from utils.outputs import Outputs

Forward = Callable[[np.ndarray], np.ndarray]


def crop_starts(samples: int, crop: int) -> list[int]:
    """First samples of the windows that a model trained on crops reads of a record."""
    if not crop or crop >= samples:
        return [0]
    return [*range(0, samples - crop, max(1, crop // 2)), samples - crop]


def forward_in_batches(
    forward: Forward,
    signals: np.ndarray,
    crop: int,
    batch_size: int,
    join: Callable[[Sequence[np.ndarray], Sequence[int], int], np.ndarray],
) -> np.ndarray:
    """Predictions for standardized records; `Task.join` joins the windows of a model trained on crops.

    Shapes: signals (N, T, leads) -> (N, ..., C).
    """
    starts = crop_starts(signals.shape[1], crop)
    length = crop or signals.shape[1]
    rows = []
    for first in range(0, len(signals), batch_size):
        batch = signals[first : first + batch_size]
        windows = [forward(np.ascontiguousarray(batch[:, s : s + length])) for s in starts]
        rows.append(join(windows, starts, signals.shape[1]))
    return np.concatenate(rows).astype(np.float32)


class Predictor:
    """A trained model of either framework with everything it needs to read a record.

    Parameters
    ----------
    folder : pathlib.Path
        Checkpoint folder.
    card : Card
        Its card.
    model : keras.Model or torch.nn.Module
        The model with its weights.
    forward : callable
        Standardized (B, T, leads) -> (B, ..., C) predictions.

    Notes
    -----
    The methods share an argument:

    signals_mv : array_like, shape (N, T, leads)
        Millivolts at ``sampling_rate``, leads in the order of ``leads``. A wrong shape and NaN or infinite
        values are a `DataError` that names record and lead.
    """

    def __init__(self, folder: Path, card: Card, model: Any, forward: Forward):
        self.folder = folder
        self.card = card
        self.model = model
        self.classes: list[str] = card.classes
        self.leads: list[str] = list(card.inputs.leads)
        self.sampling_rate: int = card.inputs.sampling_rate
        self.samples: int = card.inputs.samples
        self.crop: int = card.inputs.crop
        self.standardizer = Standardizer.from_json(card.inputs.standardization)
        self.task = create_task(card.kind, card.classes, self.sampling_rate)
        self.decision = card.outputs.decision
        self.task.reduction = (self.decision or {}).get("reduction", 1)
        self._forward = forward

    @property
    def thresholds(self) -> np.ndarray:
        """Threshold of each class, shape (C,); 0.5 where the card has none."""
        return thresholds_of(self.decision, len(self.classes))

    @property
    def calibrator(self) -> Calibrator | None:
        """Calibrator fitted on the validation records, None where the card has none."""
        return calibrator_of(self.decision)

    def standardize(self, signals_mv: np.ndarray) -> np.ndarray:
        """Check records and standardize them with the numbers of the card.

        Returns
        -------
        ndarray, shape (N, T, leads), float32
            What the model takes.
        """
        return self._standardize(signals_mv, first=0)

    def _standardize(self, signals_mv: Any, first: int) -> np.ndarray:
        """`standardize` for a batch whose first record is number `first`."""
        return self.standardizer(self._check(signals_mv, first))

    def _check(self, signals_mv: Any, first: int) -> np.ndarray:
        """Records as float32; a wrong shape, NaN and infinite values are refused."""
        self._check_shape(np.shape(signals_mv))
        signals = np.asarray(signals_mv, dtype=np.float32)
        bad = ~np.isfinite(signals).all(axis=1)
        if bad.any():
            record, lead = np.argwhere(bad)[0]
            raise DataError(
                f"record {first + record}, lead {self.leads[lead]}: NaN or infinite samples; "
                "repair or drop it"
            )
        return signals

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        expected = (self.samples, len(self.leads))
        if len(shape) != 3 or shape[1:] != expected:
            seconds = self.samples / self.sampling_rate
            raise DataError(
                f"signals of shape {shape} do not fit '{self.card.name}': it reads (N, "
                f"{expected[0]}, {expected[1]}), that is {seconds:g} s at {self.sampling_rate} Hz, leads "
                f"{' '.join(self.leads)}, in mV"
            )

    def predict(self, signals_mv: np.ndarray, batch_size: int = 32, calibrated: bool = False) -> np.ndarray:
        """Predictions for records in millivolts.

        Parameters
        ----------
        batch_size : int
            Records of one forward pass; the result does not depend on it.
        calibrated : bool
            Pass probabilities through the calibrator that was fitted on the validation records.

        Returns
        -------
        ndarray, shape (N, C) or (N, ..., C), float32
            Probabilities in the order of ``classes``; tasks other than classification give another shape.

        Raises
        ------
        DataError
            The model gives NaN or infinite values, or has no calibration where it is asked for.
        """
        rows = []
        self._check_shape(signals_mv.shape if hasattr(signals_mv, "shape") else np.shape(signals_mv))
        for first in range(0, len(signals_mv), batch_size):
            batch = self._standardize(signals_mv[first : first + batch_size], first)
            rows.append(forward_in_batches(self._forward, batch, self.crop, batch_size, self.task.join))
            bad = ~np.isfinite(rows[-1]).reshape(len(batch), -1).all(axis=1)
            if bad.any():
                raise DataError(
                    f"'{self.card.name}' gives NaN or infinite values for record {first + bad.argmax()}: its "
                    f"weights in {self.folder} are damaged, or the samples are far outside physiology"
                )
        predictions = np.concatenate(rows) if rows else np.zeros((0, len(self.classes)), np.float32)
        if not calibrated:
            return predictions
        if self.calibrator is None:
            raise DataError(f"the card in {self.folder} has no calibration: use uncalibrated probabilities")
        return self.calibrator(predictions).astype(np.float32)

    def answer(
        self, signals_mv: np.ndarray, records: Sequence[Any] | None = None, batch_size: int = 32
    ) -> Outputs:
        """Answers for records in millivolts: probabilities and decisions as a checked type.

        Parameters
        ----------
        records : sequence, optional
            Ids of the records; default their numbers.
        batch_size : int
            Records of one forward pass.

        Returns
        -------
        Outputs
            See `utils.outputs`; ``scores(labels)`` compares them with the ground truth.

        Raises
        ------
        UsageError
            The task has no such type.
        """
        return self.task.outputs(self.predict(signals_mv, batch_size), self.decision, records)


def load_predictor(
    path: str | os.PathLike, output_dir: str | os.PathLike = ".", threads: int = 0
) -> Predictor:
    """Load a trained model of either framework.

    Parameters
    ----------
    path : str or path-like
        Checkpoint folder, name of a run, name of weights that come with the repository, or a file of
        ``twelvelead export`` (``.onnx``).
    output_dir : path-like
        Folder that holds ``checkpoints/``.
    threads : int
        CPU threads; 0 leaves those of the framework, but no more than the process may use.

    Returns
    -------
    Predictor
        Ready to predict, on the CPU or the GPU, whichever there is.

    Raises
    ------
    UsageError
        No such checkpoint.
    DataError
        A damaged checkpoint or weights that do not fit the card's model.
    """
    if is_onnx(path):
        from training.export.onnx_predictor import OnnxPredictor

        return OnnxPredictor(Path(path), threads)
    folder = find_checkpoint(path, output_dir)
    card = read_card(folder)
    if card.framework == "keras":
        import models_tf.backend  # noqa: F401  (first: it imports Keras without the native noise)
        from training.keras_io import limit_threads
        from training.keras_io import load_keras as load
    else:
        from training.torch_io import limit_threads
        from training.torch_io import load_torch as load
    limit_threads(threads)
    model, forward = load(weights_of(folder, card), card)
    return Predictor(folder, card, model, forward)

"""What a task decides: the seam between datasets, models, training loops and reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from preprocessing.batches import Encoded, Weighted
from training.tasks.losses import choose_loss
from training.tasks.losses.formula import Setting
from training.tasks.losses.registry import Loss, NamedLoss
from utils.errors import DataError, UsageError
from utils.outputs import Outputs, no_outputs

Decision = dict[str, Any] | None  # JSON values of `Task.fit_decision`, as cards hold them
ACTIVATIONS = ("sigmoid", "softmax", "linear")


class Task(ABC):
    """How a dataset is learned and judged.

    A new kind is a subclass decorated with `register_task`. It must define `select_on` and `score`; all else
    has a default that suits targets of any shape. The first dimension of targets and predictions is records,
    the last dimension of predictions is classes.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes, in the order of the model's outputs.

    Attributes
    ----------
    kind : str
        Name in the registry; `Dataset.kind` and the card say it.
    loss_name : str
        A registered loss, see `training.tasks.losses`, with options where wanted (``focal:gamma=1``); or
        override `loss`. ``--loss`` chooses another one, see `choose_loss`.
    activation : {"sigmoid", "softmax", "linear"}
        From the logits of a PyTorch model to predictions; Keras models with an option ``activation`` get it.
    select_on : str
        Key of `score`: the number that chooses the checkpoint, on the validation records only.
    higher_is_better : bool
        Its direction.
    logged : tuple of str
        More keys of `score` for metrics.csv and the card.
    titles : dict of str to str
        Display names of the scores.
    aligned : bool
        Whether dimension 1 of the targets is time, so that crops and shifts apply to them as well.
    events_file : str
        Name of the table that `events` fills for a recording; empty for none.
    sampling_rate : float
        Of the signals in Hz, where the task was made for a dataset or a card; else 0.
    reduction : int
        Samples of a step of aligned targets and predictions.

    Notes
    -----
    The methods share their arguments:

    targets : ndarray, shape (N, ...)
        As the dataset has them.
    predictions, prediction : ndarray, shape (N, ..., C) and (..., C)
        Activated outputs, of many records and of one.
    decision : dict or None
        From `fit_decision` or a card; None while the model is being trained.
    dataset, train, val : Dataset
        Records of a split.
    framework : {"torch", "keras"}
        PyTorch models give logits, Keras models activated outputs.
    smoothing : float
        Label smoothing; refused by default.
    records : sequence, optional
        Ids of the records; default their numbers.
    word : str
        A registered loss with its options: ``NAME:OPTION=VALUE``.
    samples : int
        Samples that a model reads, in `join` those of a record.
    windows, starts : sequence of ndarray, shape (B, ..., C), and of int
        Predictions for each window of a record, and its first sample.
    resamples, seed : int
        Bootstrap resamples of patients, where there are intervals, and their seed.
    report, described : dict
        From `report` and from `describe`.
    sampling_rate : float
        In Hz.
    where : path-like
        The card's file, for messages.
    """

    kind: ClassVar[str] = ""
    loss_name: ClassVar[str] = "bce"
    activation: ClassVar[str] = "sigmoid"
    select_on: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    logged: ClassVar[tuple[str, ...]] = ()
    titles: ClassVar[dict[str, str]] = {}
    aligned: ClassVar[bool] = False
    events_file: ClassVar[str] = ""

    def __init__(self, classes: Sequence[str]):
        self.classes = [str(name) for name in classes]
        self.sampling_rate = 0.0
        self.reduction = 1
        self._loss: NamedLoss | None = None
        if self.activation not in ACTIVATIONS or not self.select_on:
            raise UsageError(
                f"task {self.kind}: activation must be one of {', '.join(ACTIVATIONS)}, and select_on must "
                f"name a score; they are '{self.activation}' and '{self.select_on}'"
            )

    # ---- learning

    def encode(self, targets: np.ndarray, smoothing: float = 0.0) -> Encoded:
        """Targets of the loss, float32, from those of a batch.

        A `Weighted` gives them weights, for example 0 for samples that are to be ignored; every loss that is
        a formula takes them.
        """
        if smoothing:
            raise UsageError(f"--label_smoothing does not apply to {self.kind} targets: leave it out")
        return np.asarray(targets, dtype=np.float32)

    def choose_loss(self, word: str, targets: np.ndarray) -> None:
        """Use another loss, ``NAME`` or ``NAME:OPTION=VALUE``; the training targets give balanced weights."""
        if type(self).loss is not Task.loss:
            raise UsageError(
                f"--loss {word} does not apply to {self.kind} targets, which have a loss of their own"
            )
        self._loss = choose_loss(word, self._setting(lambda: self._count(targets)))

    @property
    def named_loss(self) -> NamedLoss:
        """The loss, and its options."""
        if self._loss is None:
            self._loss = choose_loss(self.loss_name, self._setting())
        return self._loss

    def _setting(self, counts: Any = None) -> Setting:
        return Setting(self.activation, self.classes, counts, self.kind)

    def _count(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How often each class is there and how often it is not; by weight where there are weights."""
        present, absent = np.zeros((2, len(self.classes)))
        for first in range(0, len(targets), 256):
            encoded = self.encode(targets[first : first + 256])
            labels, weights = encoded if isinstance(encoded, Weighted) else (encoded, np.ones(1))
            rows = tuple(range(labels.ndim - 1))
            present += np.sum(labels * weights, axis=rows, dtype=np.float64)
            absent += np.sum((1 - labels) * weights, axis=rows, dtype=np.float64)
        return present, absent

    def loss(self, framework: str) -> Loss:
        """Build the loss: ``(output, target) -> (loss, terms)``.

        The target has the columns that `preprocessing.batches.pack` makes of what `encode` gives. The terms,
        by name, go into metrics.csv (PyTorch only).
        """
        return self.named_loss.build(framework)

    def output_shape(self, targets: np.ndarray, samples: int) -> tuple[int, ...]:
        """Shape that a model must give for one record.

        By default one row of classes, a sample where the targets are aligned.
        """
        if not self.aligned:
            return (len(self.classes),)
        return (-(-samples // self.reduction), len(self.classes))

    def join(self, windows: Sequence[np.ndarray], starts: Sequence[int], samples: int) -> np.ndarray:
        """Predict whole records from their overlapping windows, for models that were trained on crops.

        The mean over the windows; over those that cover a sample where the targets are aligned.
        """
        if not self.aligned or len(windows) == 1:
            return np.asarray(np.mean(windows, axis=0, dtype=np.float64))
        total = np.zeros((len(windows[0]), -(-samples // self.reduction), *windows[0].shape[2:]))
        counts = np.zeros((total.shape[1], *[1] * (total.ndim - 2)))
        for window, sample in zip(windows, starts, strict=True):
            start = sample // self.reduction
            total[:, start : start + window.shape[1]] += window
            counts[start : start + window.shape[1]] += 1
        return total / counts

    # ---- judging

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse data that cannot be learned or judged, before training, with a `DataError`."""
        for part in (train, val):
            if not len(part):
                raise DataError(f"{part.task}: there are no records to train or to choose a checkpoint on")

    def validation_loss(self, targets: np.ndarray, predictions: np.ndarray) -> float | None:
        """Loss of predictions, for metrics.csv and the schedule ``plateau``.

        None where the loss has no NumPy function, and by default where a task overrides `loss`.
        """
        if type(self).loss is not Task.loss:
            return None
        return self.named_loss.of(self.encode(targets), predictions)

    @abstractmethod
    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """Scores by name as JSON values; undefined ones are None."""

    def fit_decision(self, dataset: Any, predictions: np.ndarray) -> Decision:
        """Fit what turns predictions into answers, such as thresholds, as JSON values; None for nothing."""
        return None

    def check_decision(self, decision: Decision, where: Any) -> None:
        """Refuse a decision that `fit_decision` cannot have made, with a `DataError`."""
        if decision is not None and type(self).fit_decision is Task.fit_decision:
            raise DataError(f"{where}: 'decision' must be null, because task {self.kind} fits none")

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Turn predictions into answers in the form of the targets."""
        return predictions

    def outputs(
        self, predictions: np.ndarray, decision: Decision = None, records: Sequence[Any] | None = None
    ) -> Outputs:
        """Predictions and answers of records as a checked type, see `utils.outputs`."""
        raise no_outputs(self.kind)

    def remarks(self, decision: Decision) -> list[str]:
        """Sentences on what predictions lack because a card has no, or only part of, a decision."""
        return []

    # ---- reports

    def report(
        self,
        dataset: Any,
        predictions: np.ndarray,
        decision: Decision = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Judge the predictions for a split, for test.json.

        ``metrics``, and ``bootstrap`` with ``intervals`` where there are any, as JSON values.
        """
        return {"metrics": self.score(dataset.targets, predictions, decision)}

    def table(self, report: dict[str, Any]) -> str:
        """Format a report as lines of text."""
        rows = [(self.titles.get(name, name), value) for name, value in report["metrics"].items()]
        return "\n".join(f"{name:38s}{value:10.4f}" for name, value in rows if isinstance(value, int | float))

    def columns(self, dataset: Any, predictions: np.ndarray, decision: Decision = None) -> dict[str, Any]:
        """Columns of predictions.csv besides the record; none where a record has no single row."""
        if predictions.ndim != 2:
            return {}
        return {f"Pred_{name}": predictions[:, i].round(6) for i, name in enumerate(self.classes)}

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """Describe the prediction for one record as JSON values, for prediction.json."""
        return {"prediction": prediction.tolist()}

    def describe_leads(
        self, predictions: dict[str, np.ndarray], decision: Decision, sampling_rate: float
    ) -> dict[str, Any]:
        """Describe the predictions for the leads of a recording, by a model that reads one lead."""
        leads = {name: self.describe(part, decision, sampling_rate) for name, part in predictions.items()}
        return {"leads": leads}

    def events(self, described: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of `events_file`: ``lead`` and ``time_s``, or ``wave``, ``onset_s`` and ``offset_s``."""
        return []

    def lines(self, described: dict[str, Any]) -> list[str]:
        """Lines that are printed about one record."""
        return []

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Row of one record in the table of a folder of recordings: values by column."""
        return {}

    def summary_columns(self) -> dict[str, type]:
        """Columns of `summary` and the types of their values: float, int, bool or str."""
        return {}


def interval_table(rows: Sequence[tuple[str, float | None, Any]]) -> list[str]:
    """Lines of names, values and their intervals, ``low`` to ``high`` where there are any."""
    lines = [f"{'metric':38s}{'value':>10s}  95 % interval over patients"]
    for name, value, bounds in rows:
        number = "undefined" if value is None else f"{value:.4f}"
        interval = f"[{bounds['low']:.4f}, {bounds['high']:.4f}]" if bounds else ""
        lines.append(f"{name:38s}{number:>10s}  {interval}".rstrip())
    return lines

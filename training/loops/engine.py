"""What a framework does for the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from training.config import TrainOptions
from training.loops.history import History
from training.loops.stopper import Stopper
from training.predictor import Forward
from training.setup import TrainingData

State = tuple[dict[str, np.ndarray], dict[str, Any]]


class Engine(ABC):
    """One framework, in one process unless a subclass says otherwise; `start` and `build` come first.

    ``inputs``: what the model reads; ``extra`` and ``made_from``: for the card. Set by `build`.
    ``first``: whether this process writes, of those that train together.
    """

    framework: str
    inputs: TrainingData
    extra: dict[str, Any]
    made_from: list[str] | None = None
    first: bool = True

    @abstractmethod
    def start(self, config: TrainOptions) -> None:
        """Set up threads and devices."""

    @abstractmethod
    def build(self, config: TrainOptions, data: TrainingData) -> None:
        """Build model, optimizer and loss."""

    @abstractmethod
    def restore(self, arrays: dict[str, np.ndarray], extra: dict[str, Any]) -> None:
        """Restore what `state` returned."""

    @abstractmethod
    def model_config(self) -> dict[str, Any]:
        """Name and options of the model."""

    @abstractmethod
    def introduction(self) -> tuple[int, str]:
        """Number of parameters, and the device in words."""

    @abstractmethod
    def train_batch(
        self, signals: np.ndarray, targets: np.ndarray, rate: float, momentum: float | None = None
    ) -> tuple[float, dict[str, float]]:
        """Learn from a batch: the loss and its terms; ``momentum`` is also Adam's beta1."""

    def averaged(self) -> AbstractContextManager[None]:
        """Where the run averages its weights, the averages are the model's inside the block."""
        return nullcontext()

    @abstractmethod
    def forward(self) -> Forward:
        """The model in inference mode."""

    @abstractmethod
    def state(self) -> State:
        """Weights, optimizer and random state, and JSON values that go with them."""

    @abstractmethod
    def save_weights(self, path: Path) -> None:
        """Write the weights."""

    def stop_requested(self, stopper: Stopper) -> bool:
        """Whether any process was asked to stop."""
        return stopper.requested

    def on_first(self, action: Callable[[], object]) -> None:
        """Run an action in the first process while the others wait; if it fails, all end."""
        action()

    def shared(self, history: History) -> History:
        """History of the first process."""
        return history

    def finish(self, interrupted: bool) -> None:
        """Wait for the other processes; raise `KeyboardInterrupt` after an interruption."""
        if interrupted:
            raise KeyboardInterrupt

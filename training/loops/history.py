"""What a run has learned so far: losses of the running epoch, rows of the finished ones, the best one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from training.config import TrainOptions


@dataclass
class History:
    """Counters of a run; they are saved with its state and decide when it ends.

    ``epoch, batch``: the next ones to train.
    ``losses``: of the batches of this epoch so far; ``terms``: sums of the terms of the loss over them.
    ``best, best_epoch``: best selection score and where it was reached.
    ``kept``: score and epoch of the best epochs, best first, where a run keeps several.
    ``rows``: one a finished epoch, as in metrics.csv.
    ``stopped``: the caller has seen enough.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=list)
    terms: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_epoch: int = -1
    kept: list[tuple[float, int]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    @classmethod
    def of(cls, progress: dict[str, Any] | None) -> History:
        """Continue from the progress of a saved state."""
        if not progress:
            return cls()
        names = ("epoch", "batch", "losses", "best", "best_epoch")
        kept = [(value, epoch) for value, epoch in progress.get("kept", [])]
        return cls(
            **{n: progress[n] for n in names}, terms=progress["parts"], rows=progress["history"], kept=kept
        )

    def to_json(self) -> dict[str, Any]:
        """Progress for a saved state."""
        names = ("epoch", "batch", "losses", "best", "best_epoch")
        kept = {"kept": self.kept} if self.kept else {}
        return {n: getattr(self, n) for n in names} | {"parts": self.terms, "history": self.rows} | kept

    @property
    def val_losses(self) -> list[float]:
        """Validation loss of each finished epoch, where the task has one."""
        return [row["val_loss"] for row in self.rows if "val_loss" in row]

    @property
    def train_loss(self) -> float:
        """Mean loss of the batches of this epoch."""
        return float(np.mean(np.array(self.losses, dtype=np.float64)))

    def rank(self, value: float, top_k: int, higher_is_better: bool) -> list[int]:
        """Take this epoch up among the ``top_k`` best if it is one; return the epochs that fell out."""
        sign = -1 if higher_is_better else 1
        ranked = sorted([*self.kept, (value, self.epoch)], key=lambda entry: (sign * entry[0], entry[1]))
        self.kept = ranked[:top_k]
        return [epoch for _, epoch in ranked[top_k:]]

    def finished(self, config: TrainOptions) -> bool:
        """Whether training is done: all epochs, patience ran out, or the caller stopped it."""
        ran_out = self.epoch > 0 and self.epoch - 1 - self.best_epoch >= config.patience
        return self.epoch >= config.epochs or ran_out or self.stopped

    def bar(self, batches: int, shown: bool = True) -> tqdm:
        """Progress bar of the epoch."""
        return tqdm(
            total=batches,
            initial=self.batch,
            desc=f"epoch {self.epoch + 1}",
            unit="batch",
            leave=False,
            disable=None if shown else True,
        )

    def add(self, bar: tqdm, loss: float, terms: dict[str, float]) -> None:
        """Add the loss of a batch."""
        self.losses.append(loss)
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value
        bar.update()
        bar.set_postfix(loss=f"{np.mean(self.losses):.4f}")

    def mean_terms(self) -> dict[str, float]:
        """Mean of each term over the batches of this epoch."""
        return {name: total / len(self.losses) for name, total in self.terms.items()}

    def begin_epoch(self, epoch: int) -> None:
        """Start an epoch."""
        self.epoch, self.batch, self.losses, self.terms = epoch, 0, [], {}

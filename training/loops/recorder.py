"""What both loops share: progress bar, end of an epoch (score, keep the best, save, log), end of a run."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from training.checkpoint import save_state, write_checkpoint
from training.config import TrainConfig
from training.setup import TrainingData
from utils.calibration import choose_calibration
from utils.errors import TwelveLeadError
from utils.loggers import RunLogger
from utils.metrics import choose_thresholds, evaluate
from utils.provenance import command, git_commit, versions

OnEpoch = Callable[[int, float], bool]


class Stopper:
    """Turns the first Ctrl-C (or SIGTERM) into a request to stop after the batch; the second one kills."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this batch (once more to stop at once) ...", file=sys.stderr, flush=True)


class Recorder:
    """Keeps the history of a run and writes its checkpoints; closes the loggers as a context manager.

    ``model_config``: ``model.config``, for the card.
    ``progress``: what `load_state` gave, when the run is resumed.
    ``on_epoch``: ``on_epoch(epoch, fold-9 macro ROC-AUC)``, called after each epoch; True ends the
        run.
    ``card``: more for the card.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        framework: str,
        model_config: dict[str, Any],
        progress: dict[str, Any] | None = None,
        on_epoch: OnEpoch | None = None,
        card: dict[str, Any] | None = None,
    ):
        progress = progress or {}
        self.config = config
        self.data = data
        self.framework = framework
        self.model_config = model_config
        self.folder = Path(config.output_dir) / "checkpoints" / config.run
        self.logs = Path(config.output_dir) / "logs" / config.run
        self.best: float | None = progress.get("best")
        self.best_epoch: int = progress.get("best_epoch", -1)
        self.epoch: int = progress.get("epoch", 0)
        self.batch: int = progress.get("batch", 0)
        self.losses: list[float] = progress.get("losses", [])  # of the batches of this epoch so far
        self.parts: dict[str, float] = progress.get("parts", {})  # sums of the terms of the loss over them
        self.resumed = bool(progress)
        self._on_epoch = on_epoch
        self._ended = False
        self._more = card or {}
        self.logger = RunLogger(
            self.logs,
            config.run,
            config.to_json(),
            config.loggr,
            progress.get("wandb_id"),
            progress.get("history"),
        )
        self._origin = {"command": command(), "git_commit": git_commit(), "packages": versions()}

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.close()

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to train: all are done, patience ran out, or `on_epoch` said so."""
        waited = self.epoch - 1 - self.best_epoch
        ran_out = self.epoch > 0 and waited >= self.config.patience
        return self.epoch >= self.config.epochs or ran_out or self._ended

    @property
    def val_losses(self) -> list[float]:
        """Validation loss of each finished epoch."""
        return [row["val_loss"] for row in self.logger.rows]

    @property
    def standing(self) -> tuple[int, int, bool, list[dict[str, Any]]]:
        """What the processes of a run must agree on after an epoch: the first one decides it."""
        return self.epoch, self.best_epoch, self._ended, self.logger.rows

    def share(self, standing: tuple[int, int, bool, list[dict[str, Any]]]) -> None:
        """Take over the standing of the first process."""
        self.epoch, self.best_epoch, self._ended, self.logger.rows = standing
        self.batch, self.losses, self.parts = 0, [], {}

    def introduce(self, parameters: int, device: str) -> None:
        """Say what is going to be trained, and from where."""
        print(f"{self.config.model}: {parameters:,} parameters, {device}, run '{self.config.run}'")
        if self.resumed:
            print(f"resumed at epoch {self.epoch + 1}" + (f", batch {self.batch}" if self.batch else ""))

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

    def add(self, bar: tqdm, loss: float, parts: dict[str, float] | None = None) -> None:
        """Note the loss of a batch."""
        self.losses.append(loss)
        for name, value in (parts or {}).items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        bar.update()
        bar.set_postfix(loss=f"{np.mean(self.losses):.4f}")

    def end_epoch(
        self,
        epoch: int,
        seconds: float,
        probabilities: np.ndarray,
        save_weights: Callable[[Path], None],
        state: dict[str, np.ndarray],
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Score fold 9, write ``best`` if it is one, then ``last``, and log.

        Shapes: probabilities (N, C).
        """
        train_loss = float(np.mean(np.array(self.losses, dtype=np.float64)))
        if not np.isfinite(train_loss) or not np.isfinite(probabilities).all():
            raise TwelveLeadError(
                f"training diverged in epoch {epoch + 1} (loss {train_loss}): use a smaller --lr or "
                f"--clip_norm 1. The best checkpoint so far stays in {self.folder}"
            )
        labels, classes = self.data.val.labels, self.data.val.classes
        scores = evaluate(labels, probabilities, classes)
        auc = scores["macro_roc_auc"]
        better = self.best is None or auc > self.best or self.config.keep == "last"
        row = {
            "epoch": epoch + 1,
            "train_loss": round(train_loss, 6),
            "val_loss": round(log_loss(labels, probabilities, self.data.multilabel), 6),
            "val_macro_roc_auc": round(auc, 6),
            "val_mean_accuracy": round(scores["mean_accuracy"], 6),
            **{f"train_{name}": round(total / len(self.losses), 6) for name, total in self.parts.items()},
            "seconds": round(seconds, 2),
        }
        if better:
            self.best, self.best_epoch = auc, epoch
            write_checkpoint(self.folder, self._card(epoch, row, probabilities), save_weights)
        self.epoch, self.batch, self.losses, self.parts = epoch + 1, 0, [], {}
        self.logger.log(row)
        self.save(state, extra)
        mark = "*" if better else " "
        print(
            f"epoch {epoch + 1:3d}/{self.config.epochs}  loss {train_loss:.4f}  "
            f"val loss {row['val_loss']:.4f}  val macro ROC-AUC {auc:.4f} {mark}  {seconds:.0f} s",
            flush=True,
        )
        self._ended = self._on_epoch is not None and bool(self._on_epoch(epoch, auc))

    def save(self, state: dict[str, np.ndarray], extra: dict[str, Any] | None = None) -> None:
        """Write ``last``, from which ``--resume`` goes on."""
        progress = {
            "epoch": self.epoch,
            "batch": self.batch,
            "losses": self.losses,
            "parts": self.parts,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.logger.rows,
            "wandb_id": self.logger.wandb_id,
            "config": self.config.to_json(),
            "fingerprint": self.data.fingerprint,
            "made_from": self._more.get("made_from"),
            "extra": extra or {},
        }
        save_state(self.folder, state, progress)

    def conclude(self, interrupted: bool) -> None:
        """Say what was written and, after an interruption, how to go on."""
        if interrupted and not self.finished:
            self._say_how_to_go_on()
        if self.best is not None:
            which = f"{self.config.keep}: epoch {self.best_epoch + 1}"
            print(f"{which}, macro ROC-AUC {self.best:.4f} on {self.data.names[1]}")
            print(f"wrote {self.folder} (weights, card) and {self.logs} (metrics.csv, TensorBoard)")

    def _say_how_to_go_on(self) -> None:
        where = f"epoch {self.epoch + 1}" + (f", batch {self.batch}" if self.batch else "")
        print(f"interrupted at {where}; saved {self.folder / 'last'}")
        again = re.sub(r" --overwrite([ =](true|yes|on|1)\b)?", "", command(), flags=re.IGNORECASE)
        print(f"go on with: {again}{'' if self.config.resume else ' --resume'}")

    def _card(self, epoch: int, row: dict[str, Any], probabilities: np.ndarray) -> dict[str, Any]:
        val, config = self.data.val, self.config
        return {
            "framework": self.framework,
            "model": self.model_config,
            "task": config.task,
            "multilabel": self.data.multilabel,
            "classes": list(val.classes),
            "leads": list(val.leads),
            "unit": "mV",
            "sampling_rate": val.sampling_rate,
            "samples": int(val.signals.shape[1]),
            "crop": config.crop,
            "standardization": self.data.standardizer.to_json(),
            "thresholds": choose_thresholds(val.labels, probabilities).tolist(),
            "calibration": choose_calibration(val.labels, probabilities, val.patient_ids),
            "chosen_on": f"checkpoint, thresholds and calibration: {self.data.names[1]}",
            "metrics": {"epoch": epoch + 1, **{k: v for k, v in row.items() if k.startswith("val_")}},
            "data": {"fingerprint": self.data.fingerprint, "records": self.data.counts()},
            "seed": config.seed,
            "config": config.to_json(),
            **self._origin,
            "written": time.strftime("%Y-%m-%d", time.gmtime()),
            "notice": "Not a medical device. For research and teaching; never for diagnosis or treatment.",
            **self._more,
        }


def log_loss(labels: np.ndarray, probabilities: np.ndarray, multilabel: bool) -> float:
    """Cross-entropy of probabilities: binary and averaged over classes, or categorical.

    Shapes: labels (N, C), probabilities (N, C).
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    if multilabel:
        return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
    return float(-np.mean(np.sum(labels * np.log(p), axis=1)))

"""End of an epoch and of a run, for both frameworks: score, keep the best weights, save the state, report."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import write_checkpoint
from training.config import TrainOptions
from training.loops.cards import make_card, provenance_of
from training.loops.engine import Engine, State
from training.loops.history import History
from training.run import Run
from training.setup import TrainingData
from training.tasks.selection import selection_score, selection_title
from utils.errors import TwelveLeadError
from utils.flags import short
from utils.loggers import RunLogger
from utils.loggers.text import NUMBERS
from utils.provenance import command

logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, float], bool]


class Recorder:
    """Scores each epoch of a run and writes its files; closes the loggers as a context manager.

    ``on_epoch``: ``on_epoch(epoch, score)`` after each epoch, with the selection score of the validation
        records (negative where lower is better); True ends the run.
    """

    def __init__(
        self,
        run: Run,
        config: TrainOptions,
        data: TrainingData,
        engine: Engine,
        on_epoch: OnEpoch | None = None,
    ):
        self.run, self.config, self.data, self.task = run, config, data, data.task
        self.engine = engine
        self.history = History.of(run.progress)
        self.provenance = provenance_of(config, engine.made_from)
        self._on_epoch = on_epoch
        wandb_id = (run.progress or {}).get("wandb_id")
        loggers = config.loggers if engine.first else ()
        self.logger = RunLogger(run.logs, config.run, config.to_json(), loggers, wandb_id, self.history.rows)
        self.history.rows = self.logger.rows

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.close()

    @property
    def finished(self) -> bool:
        """Whether training is done."""
        return self.history.finished(self.config)

    def introduce(self, parameters: int, device: str) -> None:
        """Log what is trained, and where it resumes."""
        logger.info(f"{self.config.model}: {parameters:,} parameters, {device}, run '{self.config.run}'")
        for loss in self._loss().values():
            options = {name: value for name, value in loss["options"].items() if value is not None}
            logger.info(f"loss {loss['name']}" + "".join(f", {n} {short(v)}" for n, v in options.items()))
        if self.run.progress:
            logger.info(f"resumed at {self._position()}")

    def end_epoch(
        self,
        seconds: float,
        predictions: np.ndarray,
        state: State,
    ) -> None:
        """Score the validation records, keep the weights where they are the best, save the state, log.

        Shapes: predictions (N, ..., C).
        """
        history, epoch = self.history, self.history.epoch
        if not np.isfinite(history.train_loss) or not np.isfinite(predictions).all():
            raise TwelveLeadError(
                f"training diverged in epoch {epoch + 1} (loss {history.train_loss}): use a smaller --lr or "
                f"--clip_norm 1. The best checkpoint so far stays in {self.run.folder}"
            )
        row, value = self._row(predictions, seconds)
        better = self._keeps(value)
        dropped = history.rank(value, self.config.top_k, self.task.higher_is_better)
        if better:
            history.best, history.best_epoch = value, epoch
        folders = [self.run.folder] * better + [self._epoch_folder(epoch)] * (epoch not in dropped)
        if folders:
            metrics = {"epoch": epoch + 1, **{k: v for k, v in row.items() if k.startswith("val_")}}
            card = make_card(
                self.data,
                self.engine.framework,
                self.engine.model_config(),
                predictions,
                metrics,
                self.provenance,
                {**self.engine.extra, **self._loss()},
            )
            for folder in folders:
                write_checkpoint(folder, card, self.engine.save_weights)
        for old in dropped if self.config.top_k else ():
            shutil.rmtree(self._epoch_folder(old), ignore_errors=True)
        train_loss = history.train_loss
        history.begin_epoch(epoch + 1)
        self.logger.log(row)
        self.save(state)
        val_loss = f"val loss {row['val_loss']:.4f}  " if "val_loss" in row else ""
        logger.info(
            f"epoch {epoch + 1:3d}/{self.config.epochs}  loss {train_loss:.4f}  {val_loss}"
            f"val {selection_title(self.task)} {value:.4f} {'*' if better else ' '}  {seconds:.0f} s",
            extra=NUMBERS,
        )
        score = value if self.task.higher_is_better else -value
        history.stopped = self._on_epoch is not None and bool(self._on_epoch(epoch, score))

    def _epoch_folder(self, epoch: int) -> Path:
        """Where the weights of one of the best epochs are."""
        return self.run.folder / "epochs" / f"{epoch + 1:03d}"

    def _row(self, predictions: np.ndarray, seconds: float) -> tuple[dict[str, Any], float]:
        """Row of metrics.csv and the selection score."""
        targets = self.data.val.targets
        scores = self.task.score(targets, predictions)
        value = selection_score(self.task, scores)
        loss = self.task.validation_loss(targets, predictions)
        values = {"train_loss": self.history.train_loss}
        values |= {} if loss is None else {"val_loss": loss}
        values |= {f"val_{self.task.select_on}": value}
        values |= {f"val_{name}": scores[name] for name in self.task.logged}
        values |= {f"train_{name}": mean for name, mean in self.history.mean_terms().items()}
        rounded = {name: value if value is None else round(value, 6) for name, value in values.items()}
        return {"epoch": self.history.epoch + 1, **rounded, "seconds": round(seconds, 2)}, value

    def _loss(self) -> dict[str, Any]:
        """For the card: the loss that was chosen, with all numbers that it took from the training targets."""
        if not self.config.loss:
            return {}
        loss = self.task.named_loss
        return {"loss": {"name": loss.name, "options": dict(loss.options)}}

    def _keeps(self, value: float) -> bool:
        best = self.history.best
        if best is None or self.config.keep == "last":
            return True
        return value > best if self.task.higher_is_better else value < best

    def save(self, state: State) -> None:
        """Write ``last``, from which ``--resume`` continues."""
        arrays, extra = state
        self.run.save(
            arrays,
            {
                **self.history.to_json(),
                "wandb_id": self.logger.wandb_id,
                "fingerprint": self.data.fingerprint,
                "made_from": self.provenance.made_from,
                "extra": extra,
            },
        )

    def conclude(self, interrupted: bool) -> None:
        """Log what was written and, after an interruption, how to resume."""
        if interrupted and not self.finished:
            logger.info(f"interrupted at {self._position()}; saved {self.run.folder / 'last'}")
            again = re.sub(r" --overwrite([ =](true|yes|on|1)\b)?", "", command(), flags=re.IGNORECASE)
            logger.info(f"resume with: {again}{'' if self.config.resume else ' --resume'}")
        if self.history.best is not None:
            which = f"{self.config.keep}: epoch {self.history.best_epoch + 1}"
            logger.info(
                f"{which}, {selection_title(self.task)} {self.history.best:.4f} on {self.data.names[1]}"
            )
            logs = f" and {self.run.logs} ({self.logger.writes})" if self.logger.writes else ""
            logger.info(f"wrote {self.run.folder} (weights, card){logs}")

    def _position(self) -> str:
        history = self.history
        return f"epoch {history.epoch + 1}" + (f", batch {history.batch}" if history.batch else "")

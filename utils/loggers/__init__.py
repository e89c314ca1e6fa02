"""Where training numbers go: CSV, text, TensorBoard and wandb, behind one manager.

A new logger is one file with a registered subclass of `TrainingLogger`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.loggers import events, table, text  # noqa: F401  (the loggers register themselves)
from utils.loggers.base import LOGGERS, RunInfo, TrainingLogger, list_loggers, register_logger
from utils.loggers.wandb_run import WandbLogger
from utils.loggers.wandb_run import check_wandb as check_wandb

__all__ = ["RunLogger", "list_loggers", "register_logger"]

DEFAULT = ("csv", "tensorboard")


class RunLogger:
    """Log one dictionary of numbers an epoch to several loggers.

    Parameters
    ----------
    folder : path-like
        ``logs/<run>``, for files of all loggers.
    run : str
        Name of the run.
    config : dict
        What the run was started with, for wandb.
    loggers : sequence of str
        Names of registered loggers.
    wandb_id : str, optional
        Id of the wandb run to continue.
    history : list of dict, optional
        Rows of the epochs before, when a run is resumed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        run: str,
        config: dict[str, Any],
        loggers: Sequence[str] = DEFAULT,
        wandb_id: str | None = None,
        history: list[dict[str, Any]] | None = None,
    ):
        self.rows: list[dict[str, Any]] = list(history or [])
        info = RunInfo(Path(folder), run, config, self.rows.copy(), wandb_id)
        self._loggers: list[TrainingLogger] = []
        with contextlib.ExitStack() as started:  # one that cannot start ends the others
            for name in dict.fromkeys(loggers):
                self._loggers.append(LOGGERS.get(name)(info))
                started.callback(self._loggers[-1].close)
            self._open = started.pop_all()

    @property
    def wandb_id(self) -> str | None:
        """Id under which wandb continues this run, None without wandb."""
        return next((one.id for one in self._loggers if isinstance(one, WandbLogger)), None)

    @property
    def writes(self) -> str:
        """What is written, in words."""
        return ", ".join(one.writes for one in self._loggers)

    def log(self, row: dict[str, Any]) -> None:
        """Add the numbers of one epoch.

        Parameters
        ----------
        row : dict
            ``epoch`` and numbers by name.
        """
        self.rows.append(row)
        for one in self._loggers:
            one.log(row)

    def close(self) -> None:
        """Close all loggers; files are complete after each `log`."""
        self._open.close()

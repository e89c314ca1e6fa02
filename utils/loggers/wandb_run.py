"""Where training numbers go: CSV and TensorBoard always, wandb when asked for."""

from __future__ import annotations

import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

import pandas as pd

from utils.errors import TwelveLeadError, UsageError, nearest
from utils.files import jsonable
from utils.tables import write_csv

logger = logging.getLogger(__name__)
_WANDB_MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")


class RunLogger:
    """Log one dictionary of numbers an epoch to CSV, TensorBoard and, if wanted, wandb.

    ``folder``: ``logs/<run>``: gets ``metrics.csv``, TensorBoard events and wandb's offline files.
    ``run``: name of the run.
    ``config``: what the run was started with, for wandb.
    ``wandb``: log to wandb too. ``WANDB_MODE=offline`` needs no account.
    ``wandb_id``: id of the wandb run to continue.
    ``history``: rows of the epochs before, when a run is resumed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        run: str,
        config: dict[str, Any],
        wandb: bool = False,
        wandb_id: str | None = None,
        history: list[dict[str, Any]] | None = None,
    ):
        self.folder = Path(folder)
        self.rows: list[dict[str, Any]] = list(history or [])
        self._events: Path | None = None
        self._wandb: Any = _start_wandb(run, config, self.folder, wandb_id) if wandb else None

    @property
    def wandb_id(self) -> str | None:
        """Id under which wandb continues this run, None without wandb."""
        return None if self._wandb is None else self._wandb.id

    def log(self, row: dict[str, Any]) -> None:
        """Add the numbers of one epoch."""
        self.rows.append(row)
        write_csv(self.folder / "metrics.csv", pd.DataFrame(self.rows, dtype=object))
        numbers = {k: float(v) for k, v in row.items() if k != "epoch" and isinstance(v, int | float)}
        self._write_events(int(row["epoch"]), numbers)
        if self._wandb is not None:
            self._wandb.log({"epoch": row["epoch"], **jsonable(numbers)}, step=int(row["epoch"]))

    def close(self) -> None:
        """Finish the wandb run; files are complete after each `log`."""
        if self._wandb is not None:
            self._wandb.finish()

    def _write_events(self, step: int, numbers: dict[str, float]) -> None:
        # TensorBoard's record writer alone: its EventFileWriter imports TensorFlow, 5 s and 200 MB
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        now = time.time()
        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        events = [Event(step=step, wall_time=now, summary=Summary(value=values))]
        if self._events is None:
            self._events = self.folder / f"events.out.tfevents.{now:.6f}.{platform.node()}.{os.getpid()}"
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        with open(self._events, "ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())


def check_wandb() -> None:
    """Make sure that wandb is there and has a key, or needs none."""
    mode = os.environ.get("WANDB_MODE", "").strip() or "online"
    if mode not in _WANDB_MODES:
        raise UsageError(
            f"WANDB_MODE={mode[:40]} is not known: {nearest(mode, _WANDB_MODES)}; or use --loggr False"
        )
    os.environ["WANDB_MODE"] = mode  # wandb does not take an empty one
    try:
        import wandb

        has_key = bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)
    except ImportError as error:
        raise UsageError("--loggr True needs wandb: pip install wandb, or leave --loggr False") from error
    except ValueError as error:  # of another variable WANDB_...
        raise UsageError(
            f"wandb does not take its settings ({str(error).splitlines()[0]}): check the environment "
            "variables WANDB_..., or use --loggr False"
        ) from error
    if mode == "disabled":
        logger.info("note: WANDB_MODE=disabled, so wandb logs nothing")
    if mode in ("online", "run", "shared") and not has_key:
        raise UsageError(
            "--loggr True found no wandb key: run `wandb login`, or set WANDB_MODE=offline, "
            "or use --loggr False"
        )


def _start_wandb(run: str, config: dict[str, Any], folder: Path, wandb_id: str | None) -> Any:
    check_wandb()
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    try:
        return wandb.init(
            project="TwelveLead",
            name=run,
            id=wandb_id,
            resume="allow" if wandb_id else None,
            config=jsonable(config),
            dir=str(folder),
            settings=wandb.Settings(silent=True, console="off"),
        )
    except (wandb.errors.Error, ValueError) as error:
        raise TwelveLeadError(
            f"wandb did not start ({error}): set WANDB_MODE=offline or use --loggr False"
        ) from error

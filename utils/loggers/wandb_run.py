"""Log to wandb, online or offline."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from utils.errors import TwelveLeadError, UsageError, nearest
from utils.files import jsonable
from utils.loggers.base import RunInfo, TrainingLogger, numbers, register_logger

logger = logging.getLogger(__name__)
_WANDB_MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")


@register_logger("wandb")
class WandbLogger(TrainingLogger):
    """A wandb run; ``WANDB_MODE=offline`` needs no account."""

    writes = "wandb"

    def __init__(self, info: RunInfo):
        self._run = _start_wandb(info.run, info.config, info.folder, info.wandb_id)

    @property
    def id(self) -> str:
        """Id under which wandb continues this run."""
        return self._run.id

    def log(self, row: dict[str, Any]) -> None:
        self._run.log({"epoch": row["epoch"], **jsonable(numbers(row))}, step=int(row["epoch"]))

    def close(self) -> None:
        self._run.finish()


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

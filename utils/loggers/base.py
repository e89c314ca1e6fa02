"""What a logger of training numbers is, and the registry of loggers."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from utils.registry import Registry


@dataclass(frozen=True)
class RunInfo:
    """What a logger is told when a run begins or is resumed.

    ``folder``: ``logs/<run>``.
    ``run``: name of the run; ``config``: what it was started with.
    ``history``: rows of the epochs before, when a run is resumed: what a killed process logged after the last
        of them is to be dropped, since those epochs are trained again.
    ``wandb_id``: id of the wandb run to continue.
    """

    folder: Path
    run: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    wandb_id: str | None = None

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return int(self.history[-1]["epoch"]) if self.history else 0


class TrainingLogger(abc.ABC):
    """One place where training numbers go; made with a `RunInfo`. Files are complete after each `log`.

    ``writes``: what it writes, in words.
    """

    writes: ClassVar[str] = ""

    @abc.abstractmethod
    def __init__(self, info: RunInfo) -> None: ...

    @abc.abstractmethod
    def log(self, row: dict[str, Any]) -> None:
        """Add the numbers of one epoch; ``epoch`` is one of them."""

    def close(self) -> None:  # noqa: B027  (most have nothing to end)
        """End."""


LOGGERS: Registry[type[TrainingLogger]] = Registry("logger")


def register_logger(name: str) -> Callable[[type[TrainingLogger]], type[TrainingLogger]]:
    """Register a subclass of `TrainingLogger`; used as a decorator.

    Parameters
    ----------
    name : str
        What ``--loggers`` takes.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    UsageError
        Another module registered a logger of that name.
    """
    return lambda kind: LOGGERS.register(name, kind)


def list_loggers() -> list[str]:
    """Names that ``--loggers`` takes.

    Returns
    -------
    list of str
        Sorted.
    """
    return LOGGERS.names()


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """Numbers of a row besides the epoch."""
    return {k: float(v) for k, v in row.items() if k != "epoch" and isinstance(v, int | float)}

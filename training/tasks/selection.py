"""The score that chooses a checkpoint, and whether a model can give the targets of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.tasks.base import Task
from utils.errors import DataError, UsageError


def selection_title(task: Task) -> str:
    """Display name of the score that chooses the checkpoint."""
    return task.titles.get(task.select_on, task.select_on)


def selection_score(task: Task, scores: dict[str, Any]) -> float:
    """The score that chooses the checkpoint, from `Task.score`."""
    value = scores.get(task.select_on)
    if not isinstance(value, int | float):
        raise DataError(
            f"task {task.kind}: score '{task.select_on}', which chooses the checkpoint, is {value!r} on the "
            f"validation records; scores: {', '.join(scores)}"
        )
    return float(value)


def check_output(task: Task, shape: Sequence[int | None], expected: Sequence[int], model: str) -> None:
    """Refuse a model that cannot give the targets of a task; the shapes are those of one record."""
    fits = len(shape) == len(expected) and all(a in (None, b) for a, b in zip(shape, expected, strict=True))
    if not fits:
        raise UsageError(
            f"model '{model}' gives {tuple(shape)} for a record, but {task.kind} targets need "
            f"{tuple(expected)}: choose a model for this kind of task"
        )

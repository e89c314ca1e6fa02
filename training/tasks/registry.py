"""The registry of tasks: the kind of a dataset's targets names how it is learned and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.tasks.base import Task
from utils.registry import Registry

_REGISTRY: Registry[type[Task]] = Registry("kind of task")


def register_task(kind: str) -> Callable[[type[Task]], type[Task]]:
    """Register a subclass of `Task` (use as a decorator).

    Parameters
    ----------
    kind : str
        What `Dataset.kind` calls targets of this kind; the card of a run names it.

    Returns
    -------
    callable
        The decorator; it sets the attribute ``kind`` of the class.

    Raises
    ------
    UsageError
        Another module registered this kind already.
    """

    def decorate(cls: type[Task]) -> type[Task]:
        cls.kind = kind
        return _REGISTRY.register(kind, cls)

    return decorate


def list_tasks() -> list[str]:
    """Kinds that `create_task` knows.

    Returns
    -------
    list of str
        Sorted names.
    """
    return _REGISTRY.names()


def create_task(kind: str, classes: Sequence[str], sampling_rate: float = 0.0) -> Task:
    """Make the task of a dataset.

    Parameters
    ----------
    kind : str
        One of `list_tasks()`.
    classes : sequence of str
        Names of the classes, in the order of the model's outputs.
    sampling_rate : float, optional
        Of the signals in Hz, for tasks that decode in seconds.

    Returns
    -------
    Task
        The task for these classes.

    Raises
    ------
    UsageError
        Unknown kind; the message names the nearest valid one.
    """
    task = _REGISTRY.get(kind)(classes)
    task.sampling_rate = float(sampling_rate)
    return task

"""Tasks: how a dataset is learned and judged. A new kind is one file with a registered subclass of `Task`."""

from training.tasks import classification as _classification  # noqa: F401  (the tasks register themselves)
from training.tasks import rpeaks as _rpeaks  # noqa: F401
from training.tasks import segmentation as _segmentation  # noqa: F401
from training.tasks import tagging as _tagging  # noqa: F401
from training.tasks import waves as _waves  # noqa: F401
from training.tasks.base import Task
from training.tasks.losses import list_losses, register_loss
from training.tasks.registry import create_task, list_tasks, register_task

__all__ = ["Task", "create_task", "list_losses", "list_tasks", "register_loss", "register_task"]

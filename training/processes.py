"""The processes of one command: one for each device of ``--devices``, started by Lightning Fabric."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

import torch
from lightning_fabric.utilities import rank_zero_only

from utils.errors import TwelveLeadError


def is_first() -> bool:
    """Whether this is the process that writes and speaks.

    Returns
    -------
    bool
        True where there is no other.
    """
    return rank_zero_only.rank == 0


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def on_first(action: Callable[[], object]) -> None:
    """Let the first process do something while the others wait.

    Parameters
    ----------
    action : callable
        Without arguments.

    Raises
    ------
    TwelveLeadError
        It failed: all processes end, none waits for another.
    """
    failure: TwelveLeadError | None = None
    if is_first():
        try:
            action()
        except TwelveLeadError as error:
            failure = error
    failed = [failure is not None]
    if _several():
        torch.distributed.broadcast_object_list(failed, src=0)
    if failed[0]:
        raise failure or TwelveLeadError("the first process stopped; its message says why")


@contextmanager
def together() -> Iterator[None]:
    """What a command runs in that may train on several devices: its processes speak once, and end together.

    The process group lives as long as the command, which may train several models one after the other. Its
    threads must not outlive the interpreter, and they are joined where the last reference to the group goes.
    Held by a model for several devices, that would be with Python's lock taken, for which a thread may be
    waiting to drop a tensor: the process would never end. So every model has to be gone before.

    Yields
    ------
    None
        While the command runs.
    """
    with ExitStack() as stack:
        if not is_first():
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(silence))
        try:
            yield
        except BaseException as error:
            if _several():
                traceback.clear_frames(error.__traceback__)  # they hold the model
            raise
        finally:
            if _several():
                gc.collect()  # those in reference cycles too
                torch.distributed.destroy_process_group()

"""The processes of one command: one for each device of ``--devices``, started by Lightning Fabric."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

import torch
from lightning_fabric.utilities import rank_zero_only


def is_first() -> bool:
    """Whether this is the process that writes, of those that train together."""
    return not _several() or torch.distributed.get_rank() == 0


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def end_others() -> None:
    """End every process but the first, which says why the command ends.

    With exit code 0: Fabric kills the first process where another one fails.
    """
    if not is_first():
        raise SystemExit(0)


def on_first(action: Callable[[], object]) -> None:
    """Run an action in the first process while the others wait; if it fails, all end."""
    failure: BaseException | None = None
    if is_first():
        try:
            action()
        except BaseException as error:  # Ctrl-C too: the others must hear of it
            failure = error
    failed = [failure is not None]
    if _several():
        torch.distributed.broadcast_object_list(failed, src=0)
    if failed[0]:
        end_others()
    if failure:
        raise failure


@contextmanager
def together(devices: int) -> Iterator[None]:
    """What a command runs in that may train on several devices: one process prints, and all of them end.

    The process group lives as long as the command, which may train several models one after the other. Its
    threads must not outlive the interpreter, and Gloo's are joined by the destructor of the group. Where a
    model for several devices (its reducer) has the last reference, that destructor runs with the
    interpreter's lock held, for which such a thread may be waiting to free a tensor: the process would hang.
    So every model must be freed before the group is destroyed.
    """
    with ExitStack() as stack:
        if devices > 1 and rank_zero_only.rank:  # known before the group is made
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(silence))
        try:
            yield
        except BaseException as error:
            # other groups are left to the end of the process: they may wait for processes that are gone
            if _several() and torch.distributed.get_backend() == "gloo":
                failure: BaseException | None = error
                while failure:  # the frames of each hold the model
                    traceback.clear_frames(failure.__traceback__)
                    failure = failure.__context__
                _end_group()
            raise
        if _several():
            _end_group()


def _end_group() -> None:
    gc.collect()  # models in reference cycles
    torch.distributed.destroy_process_group()

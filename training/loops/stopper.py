"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any


class Stopper:
    """Turns the first Ctrl-C (or SIGTERM) into a request to stop after the batch; the second one kills."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this batch (once more to stop at once) ...", file=sys.stderr, flush=True)

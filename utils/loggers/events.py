"""Log to TensorBoard's event files."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from utils.loggers.base import RunInfo, TrainingLogger, numbers, register_logger


@register_logger("tensorboard")
class TensorBoardLogger(TrainingLogger):
    """Scalars in an event file for each process that trained; TensorBoard is imported at the first epoch."""

    writes = "TensorBoard"

    def __init__(self, info: RunInfo):
        self._info = info
        self._path: Path | None = None

    def log(self, row: dict[str, Any]) -> None:
        # TensorBoard's record writer alone: its EventFileWriter imports TensorFlow, 5 s and 200 MB
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        now, step = time.time(), int(row["epoch"])
        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers(row).items()]
        events = [Event(step=step, wall_time=now, summary=Summary(value=values))]
        if self._path is None:
            name = f"events.out.tfevents.{now:.6f}.{platform.node()}.{os.getpid()}"
            self._path = self._info.folder / name
            self._path.parent.mkdir(parents=True, exist_ok=True)
            head = [Event(wall_time=now, file_version="brain.Event:2")]
            if self._info.done:  # readers drop what a killed process logged from this step on
                start = SessionLog(status=SessionLog.START)
                head.append(Event(step=step, wall_time=now, session_log=start))
            events = head + events
        with open(self._path, "ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())

"""Log to TensorBoard's event files."""

from __future__ import annotations

import os
import platform
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.loggers.base import RunInfo, TrainingLogger, numbers, register_logger

_BINS = 30  # of a histogram


class EventFile:
    """An event file of TensorBoard, which is imported at the first value; each call is written at once.

    ``done``: last step of an earlier process; readers drop what it logged after that.
    """

    def __init__(self, folder: Path, done: int = 0):
        self._folder, self._done = folder, done
        self._path: Path | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(step, [Summary.Value(tag=name, simple_value=value) for name, value in values.items()])

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Add a PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = struct.unpack(">II", png[16:24])  # of its header
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._write(step, [Summary.Value(tag=name, image=image)])

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Add the distribution of numbers of any shape."""
        from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

        flat = np.asarray(values, np.float64).ravel()
        counts, edges = np.histogram(flat, _BINS)
        histogram = HistogramProto(
            min=flat.min(),
            max=flat.max(),
            num=len(flat),
            sum=flat.sum(),
            sum_squares=(flat**2).sum(),
            bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        )
        self._write(step, [Summary.Value(tag=name, histo=histogram)])

    def _write(self, step: int, values: list[Any]) -> None:
        # TensorBoard's record writer alone: its EventFileWriter imports TensorFlow, 5 s and 200 MB
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        now = time.time()
        events = [Event(step=step, wall_time=now, summary=Summary(value=values))]
        if self._path is None:
            name = f"events.out.tfevents.{now:.6f}.{platform.node()}.{os.getpid()}"
            self._path = self._folder / name
            self._path.parent.mkdir(parents=True, exist_ok=True)
            head = [Event(wall_time=now, file_version="brain.Event:2")]
            if self._done:
                start = SessionLog(status=SessionLog.START)
                head.append(Event(step=step, wall_time=now, session_log=start))
            events = head + events
        with open(self._path, "ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())


@register_logger("tensorboard")
class TensorBoardLogger(TrainingLogger):
    """Scalars in an event file for each process that trained."""

    writes = "TensorBoard"

    def __init__(self, info: RunInfo):
        self._file = EventFile(info.folder, info.done)

    def log(self, row: dict[str, Any]) -> None:
        self._file.scalars(int(row["epoch"]), numbers(row))

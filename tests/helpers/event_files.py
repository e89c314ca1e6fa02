"""TensorBoard's event files, read record by record."""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c


def read_events(path: Path) -> list[Event]:
    """Parse an event file, record by record, with its checksums."""
    content, found = path.read_bytes(), []
    while content:
        (length,), (check,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
        data, (last,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])
        assert check == masked_crc32c(content[:8]) and last == masked_crc32c(data)
        found.append(Event.FromString(data))
        content = content[16 + length :]
    return found

"""Signal files of WFDB records, decoded to the integers that they store.

Formats: https://wfdb.io/spec/signal-files.html. All that the specification lists are read. wfdb reads the
same ones, but not from a header that its own parser refuses, nor signals of one file whose lines are mixed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from databases.wfdb_header import Header, RecordError, Signal, check_regular

MOST_VALUES = 2**27  # of one record: 1 GB as float64, or 12 hours of 12 leads at 250 Hz
_BLOCK = 2**20  # samples or groups that are decoded at a time
_PLAIN = {"8": "i1", "16": "<i2", "32": "<i4", "61": ">i2", "80": "u1", "160": "<u2"}
_OFFSET = {"80": 128, "160": 32768}  # what offset binary formats add
_PACKED = {"24": (1, 3), "212": (2, 3), "310": (3, 4), "311": (3, 4)}  # samples in a group, and its bytes
_FLAC = {"508": 8, "516": 16, "524": 24}  # bits
# What stands for "no sample here"; format 8 has no such value.
INVALID = {"16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -(2**7), "160": -(2**15)}
INVALID |= {"212": -(2**11), "310": -(2**9), "311": -(2**9)}
INVALID |= {fmt: -(2 ** (bits - 1)) for fmt, bits in _FLAC.items()}


class Group:
    """The signals of one file, whose samples are interleaved frame by frame.

    ``available``: whole frames in the file.
    """

    def __init__(self, header: Header, file: Path) -> None:
        self.path, self.file = header.path, file
        self.columns = [column for column, signal in enumerate(header.signals) if signal.file == file]
        self.signals = [header.signals[column] for column in self.columns]
        self.fmt, self.offset = self.signals[0].fmt, self.signals[0].offset
        self.width = sum(signal.frames for signal in self.signals)  # samples in a frame
        if {signal.fmt for signal in self.signals} != {self.fmt}:
            raise RecordError(self.path, f"header gives {file.name} several formats", "correct the header")
        if self.fmt not in {*_PLAIN, *_PACKED, *_FLAC}:
            raise RecordError(
                self.path,
                f"{file.name} has signal format {self.fmt}, which is not read",
                "convert the record, for example to format 16 with xform or wfdb.wrsamp",
            )
        if not os.path.exists(file):
            raise RecordError(
                self.path, f"file {file.name[:80]} is missing, but {self.path.name}.hea names it"
            )
        check_regular(file, self.path)
        self.bytes = file.stat().st_size
        self.available = self._count(self.bytes - self.offset) // self.width

    def check_size(self, stated: int | None, needed: int) -> list[str]:
        """Refuse a file that lacks frames of the `needed` ones; a note where its size differs."""
        if stated is None:
            return []
        more = self.available - stated
        if more >= 0:  # the last group of a packed format is filled up
            filled = more * self.width < _PACKED.get(self.fmt, (1, 0))[0]
            text = f"WARNING: {self.file.name} has {more} more samples than the header says"
            return [] if filled else [f"{text}: its format, length or file may be wrong there"]
        where = f"{self.path.name}.hea ({stated} samples of {len(self.signals)} signals)"
        if self.fmt in _FLAC:
            found = f"it holds {self.available} samples, fewer than {where}"
        else:
            found = f"{self.expected_bytes(stated)} bytes expected from {where}, {self.bytes} found"
        text = f"{self.file.name} is truncated: {found}"
        if self.available < needed:
            raise RecordError(self.path, text)
        return [text]

    def expected_bytes(self, frames: int) -> int:
        """Bytes that a file of that number of frames has at least."""
        count = frames * self.width
        if self.fmt in _PLAIN:
            return self.offset + count * np.dtype(_PLAIN[self.fmt]).itemsize
        size, length = _PACKED[self.fmt]
        groups, more = divmod(count, size)
        rest = {("212", 1): 2, ("310", 1): 2, ("310", 2): 4, ("311", 1): 2, ("311", 2): 3}
        return self.offset + groups * length + rest.get((self.fmt, more), 0)

    def _count(self, size: int) -> int:
        """Samples of all signals in a number of bytes."""
        if self.fmt in _FLAC:
            with self._open_flac() as sound:
                return max(0, sound.frames - self.offset) * sound.channels
        if self.fmt in _PLAIN:
            return max(size, 0) // np.dtype(_PLAIN[self.fmt]).itemsize
        samples, length = _PACKED[self.fmt]
        groups, more = divmod(max(size, 0), length)
        rest = {("212", 2): 1, ("310", 2): 1, ("310", 3): 1, ("311", 2): 1, ("311", 3): 2}
        return groups * samples + rest.get((self.fmt, more), 0)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Integers of each signal, frames `start` to `stop`; fewer where the file ends before."""
        if self.fmt in _FLAC:
            return self._read_flac(start, stop)
        if self.fmt == "8":  # differences from the first sample on
            start, skipped = 0, start
        frames = self._read_samples(start * self.width, stop * self.width)
        frames = frames[: len(frames) // self.width * self.width].reshape(-1, self.width)
        ends = np.cumsum([signal.frames for signal in self.signals])
        parts = [frames[:, end - s.frames : end] for end, s in zip(ends, self.signals, strict=True)]
        if self.fmt == "8":
            sums = [part.reshape(-1).cumsum(dtype=np.int64) for part in parts]
            return [
                (values + first_value(signal))[skipped * signal.frames :]
                for values, signal in zip(sums, self.signals, strict=True)
            ]
        return [part.reshape(-1) if part.shape[1] > 1 else part[:, 0] for part in parts]

    def _read_samples(self, first: int, last: int) -> np.ndarray:
        """Samples of all signals as they follow each other in the file."""
        with open(self.file, "rb") as stream:
            if self.fmt in _PLAIN:
                dtype = np.dtype(_PLAIN[self.fmt])
                stream.seek(self.offset + first * dtype.itemsize)
                raw = np.fromfile(stream, dtype, last - first)
                if self.fmt in _OFFSET:
                    return (raw.astype(np.int32) - _OFFSET[self.fmt]).astype(np.int16)
                return raw
            group, length = _PACKED[self.fmt]
            begin = first // group
            stream.seek(self.offset + begin * length)
            size = -(-last // group) * length - begin * length
            raw = np.fromfile(stream, np.uint8, size)
        stop = min(last, begin * group + self._count(len(raw)))
        raw = np.pad(raw, (0, -len(raw) % length)).reshape(-1, length)
        samples = np.empty((len(raw), group), np.int32 if self.fmt == "24" else np.int16)
        for at in range(0, len(raw), _BLOCK):
            samples[at : at + _BLOCK] = _unpack(self.fmt, raw[at : at + _BLOCK].astype(np.int32))
        return samples.reshape(-1)[first - begin * group : stop - begin * group]

    @contextlib.contextmanager
    def _open_flac(self) -> Iterator[Any]:
        try:
            import soundfile

            with open(self.file, "rb") as stream, soundfile.SoundFile(stream) as sound:
                bits = int(sound.subtype.removeprefix("PCM_S").removeprefix("PCM_"))
                rates = {signal.frames for signal in self.signals}
                if (sound.format, sound.channels, len(rates)) != ("FLAC", len(self.signals), 1) or (
                    bits > _FLAC[self.fmt]
                ):
                    raise RecordError(
                        self.path,
                        f"{self.file.name} holds {sound.channels} signals of {sound.format} {sound.subtype}, "
                        f"the header gives {len(self.signals)} of format {self.fmt}",
                    )
                yield sound
        except ImportError as error:
            raise RecordError(self.path, f"{self.file.name} is FLAC", "pip install soundfile") from error
        except (OSError, ValueError, RuntimeError) as error:  # libsndfile's errors are RuntimeErrors
            raise RecordError(self.path, f"{self.file.name} is not a readable FLAC file ({error})") from error

    def _read_flac(self, start: int, stop: int) -> list[np.ndarray]:
        frames = self.signals[0].frames
        with self._open_flac() as sound:
            first = min(self.offset + start * frames, sound.frames)
            last = min(self.offset + stop * frames, sound.frames)
            sound.seek(first)
            samples = np.empty((last - first, sound.channels), np.int32)
            for at in range(0, len(samples), _BLOCK):  # libsndfile fails on blocks beyond 2**24 values
                sound.read(out=samples[at : at + _BLOCK])
            samples >>= 32 - int(sound.subtype.removeprefix("PCM_S").removeprefix("PCM_"))
        return list(samples.T)


def first_value(signal: Signal) -> int:
    """First sample of a signal by its header."""
    return signal.zero if signal.initial is None else signal.initial


def _unpack(fmt: str, part: np.ndarray) -> np.ndarray:
    """Signed samples of packed groups; part (groups, bytes) -> (groups, samples)."""
    first, second, third = part[:, 0], part[:, 1], part[:, 2]
    if fmt == "24":
        samples, bits = [first | second << 8 | third << 16], 24
    elif fmt == "212":
        samples, bits = [first | (second & 15) << 8, third | (second >> 4) << 8], 12
    elif fmt == "310":
        low, high = first | second << 8, third | part[:, 3] << 8
        samples, bits = [low >> 1 & 1023, high >> 1 & 1023, low >> 11 | (high >> 11) << 5], 10
    else:  # 311
        word = first | second << 8 | third << 16
        samples, bits = [word & 1023, word >> 10 & 1023, word >> 20 | (part[:, 3] & 63) << 4], 10
    sign = 1 << (bits - 1)
    return (np.stack(samples, axis=1) ^ sign) - sign


def check_amount(path: Path, values: int) -> None:
    """Refuse what would take more memory than any recording needs."""
    if values > MOST_VALUES:
        raise RecordError(
            path,
            f"would take {values * 8 / 2**30:.0f} GB of memory: it has {values:,} samples, more than "
            f"{MOST_VALUES:,}",
            "cut it into parts",
        )


def signal_groups(header: Header, columns: Sequence[int]) -> list[Group]:
    """Files of signals, each once; refused where they are missing or cannot be right."""
    files = dict.fromkeys(header.signals[column].file for column in columns)
    if None in files:
        raise RecordError(header.path, "header gives no file for its signals", "choose another record")
    return [Group(header, file) for file in files if file]


def to_physical(samples: np.ndarray, signal: Signal, default_gain: float) -> np.ndarray:
    """Samples in the unit of the signal, float64; NaN where the file marks one as invalid."""
    values = samples.astype(np.float64)
    values -= signal.baseline
    values /= signal.gain or default_gain
    if signal.fmt in INVALID:
        values[samples == INVALID[signal.fmt]] = np.nan
    return values

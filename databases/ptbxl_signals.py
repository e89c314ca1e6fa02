"""All recordings of PTB-XL, read directly as int16 microvolts and verified sample by sample.

PTB-XL stores every record alike: WFDB format 16, 12 leads interleaved, 1000 units per mV. Such a file *is* an
int16 array, so it is read without a parser, and the header's initial values and checksums (the sum of the
samples of each lead modulo 65536, WFDB header(5)) prove that it is whole. Any other layout goes through
`databases.wfdb_reader` to the same array.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from databases.wfdb_files import INVALID_SAMPLE, to_int16
from databases.wfdb_header import RecordError
from databases.wfdb_reader import read_record
from utils.ecg import LEADS
from utils.errors import DataError
from utils.files import read_error

MISSING = "missing"
BLOCK = 256  # records in memory at a time: 6 MB at 100 Hz

_PLAIN_GAINS = {b"1000.0(0)/mV", b"1000(0)/mV", b"1000.0/mV", b"1000/mV"}
_LEAD_TOKENS = [lead.encode() for lead in LEADS]


class RecordProblems:
    """Faults of single records, collected so that one message lists all of them."""

    def __init__(self) -> None:
        self._problems: list[tuple[int, str]] = []
        self._some_missing = False

    def add(self, ecg_id: int, file: str, reason: str) -> None:
        self._problems.append((int(ecg_id), f"  ecg_id {ecg_id}, {file}: {reason}"))
        self._some_missing |= reason == MISSING

    def __len__(self) -> int:
        return len(self._problems)

    def raise_if_any(self, data_dir: str | os.PathLike, records: int) -> None:
        """Raise one error that lists the first ten records and counts all."""
        if not self._problems:
            return
        lines = [line for _, line in sorted(self._problems)]
        lines[10:] = [f"  ... and {len(lines) - 10} more"] if len(lines) > 10 else []
        lines.append("Download these files again (`python -m databases.download ptbxl` checks them all).")
        if self._some_missing:
            lines.append("To work with a partial download, use --partial (Python: on_missing='drop').")
        raise DataError(
            f"{len(self._problems)} of {records} records in {data_dir} cannot be used:\n" + "\n".join(lines)
        )


def file_states(data_dir: str | os.PathLike, filenames: Sequence[str]) -> np.ndarray:
    """Size and modification time of the two files of each record, without opening them, (N, 4)."""
    states = np.full((len(filenames), 4), -1, dtype=np.int64)
    for row, name in enumerate(filenames):
        for column, suffix in ((0, ".hea"), (2, ".dat")):
            path = f"{os.fspath(data_dir)}/{name}{suffix}"
            try:
                status = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise read_error(path, error) from error
            states[row, column : column + 2] = status.st_size, status.st_mtime_ns
    return states


def parse_plain_header(text: bytes, name: str) -> tuple[int, int, list[int], list[int]] | None:
    """Parse the header of a record in PTB-XL's own layout."""
    tokens = text.split()
    if len(tokens) != 4 + 9 * len(LEADS) or text.count(b"\n") not in (len(LEADS), len(LEADS) + 1):
        return None
    fields = [tokens[4 + column :: 9] for column in range(9)]
    file, fmt, gain, _, zero, initial, checksum, _, lead = fields
    plain = (
        tokens[1] == b"12"
        and set(file) == {name.encode() + b".dat"}
        and set(fmt) == {b"16"}
        and _PLAIN_GAINS.issuperset(gain)
        and set(zero) == {b"0"}
        and lead == _LEAD_TOKENS
    )
    if not plain:
        return None
    try:
        rate, samples, *values = map(int, [tokens[2], tokens[3], *initial, *checksum])
    except ValueError:  # for example a sampling rate of "100.0"
        return None
    if not 0 < samples < 10**6 or max(values) > 65535 or min(values) < -32768:
        return None
    return rate, samples, values[: len(LEADS)], values[len(LEADS) :]


def read_with_wfdb(path: str | os.PathLike, sampling_rate: int) -> np.ndarray:
    """Read one record of any layout as int16 microvolts in PTB-XL's order of leads, (T, 12)."""
    recording = read_record(path, LEADS, sampling_rate=sampling_rate, dtype=np.float64)
    try:
        return to_int16(recording.signal)
    except DataError as error:
        reason = "exceeds +-32.767 mV, which no electrocardiogram does: wrong gain or unit in the header"
        raise RecordError(Path(path), reason) from error


def _reason(error: OSError) -> str:
    return MISSING if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


class RecordReader:
    """All recordings of one sampling rate, headers first, then the samples in blocks.

    ``ecg_ids``: the records, for messages.
    ``filenames``: their files, relative, without extension.
    ``sampling_rate``: what the headers must say, in Hz.
    """

    dtype = np.dtype("<i2")

    def __init__(
        self,
        data_dir: str | os.PathLike,
        ecg_ids: Sequence[int],
        filenames: Sequence[str],
        sampling_rate: int,
    ) -> None:
        self._dir = os.fspath(data_dir)
        self._ids = ecg_ids
        self._names = filenames
        self._rate = sampling_rate
        self._problems = RecordProblems()
        count = len(filenames)
        self._initial = np.zeros((count, len(LEADS)), dtype=np.int32)
        self._checksums = np.zeros((count, len(LEADS)), dtype=np.int32)
        self._lengths = np.zeros(count, dtype=np.int64)
        self._plain = np.zeros(count, dtype=bool)
        self._unusual: set[int] = set()  # rows that wfdb reads
        for row in tqdm(range(count), desc="headers", unit="record", disable=None):
            self._read_header(row)
        self.shape = (count, self._common_length(), len(LEADS))

    def _common_length(self) -> int:
        lengths = self._lengths[self._plain]
        if not lengths.size:  # nothing is in PTB-XL's own layout: the first readable record tells
            for row in sorted(self._unusual):
                try:
                    return len(read_with_wfdb(f"{self._dir}/{self._names[row]}", self._rate))
                except RecordError as error:
                    self._unusual.remove(row)
                    self._problem(row, ".hea", error.reason)
            self._problems.raise_if_any(self._dir, len(self._names))
        return Counter(lengths.tolist()).most_common(1)[0][0]

    def _problem(self, row: int, suffix: str, reason: str) -> None:
        self._problems.add(self._ids[row], self._names[row] + suffix, reason)
        self._plain[row] = False

    def _read_header(self, row: int) -> None:
        path = f"{self._dir}/{self._names[row]}"
        try:
            with open(path + ".hea", "rb", buffering=0) as file:
                text = file.read()
        except OSError as error:
            self._problem(row, ".hea", _reason(error))
            return
        header = parse_plain_header(text, path.rsplit("/", 1)[-1])
        if header is None:
            self._unusual.add(row)
            return
        rate, self._lengths[row], self._initial[row], self._checksums[row] = header
        self._plain[row] = True
        if rate != self._rate:
            self._problem(row, ".hea", f"header says {rate} Hz, expected {self._rate} Hz")

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the samples, (<= 256, T, 12)."""
        count, length, leads = self.shape
        buffer = np.empty((min(BLOCK, count), length, leads), dtype="<i2")
        with tqdm(total=count, desc=f"samples, {self._rate} Hz", unit="record", disable=None) as bar:
            for start in range(0, count, BLOCK):
                rows = range(start, min(start + BLOCK, count))
                block = buffer[: len(rows)]
                for row, target in zip(rows, block, strict=True):
                    self._read_samples(row, target)
                self._verify(start, block)
                bar.update(len(rows))
                if not self._problems:  # otherwise only the list of problems is wanted
                    yield block
        self._problems.raise_if_any(self._dir, count)

    def _read_samples(self, row: int, target: np.ndarray) -> None:
        """Fill `target` (T, 12) with one record."""
        path = f"{self._dir}/{self._names[row]}"
        if row in self._unusual:
            try:
                samples = read_with_wfdb(path, self._rate)
            except RecordError as error:
                self._problem(row, ".hea", error.reason)
                return
            if len(samples) == len(target):
                target[:] = samples
            else:
                self._problem(row, ".hea", f"{len(samples)} samples, the other records have {len(target)}")
        elif self._plain[row] and self._lengths[row] != len(target):
            reason = f"header says {self._lengths[row]} samples, the other records have {len(target)}"
            self._problem(row, ".hea", reason)
        elif self._plain[row]:
            try:
                with open(path + ".dat", "rb", buffering=0) as file:
                    got = file.readinto(target.data)
                    more = len(file.read(1))
            except OSError as error:
                self._problem(row, ".dat", _reason(error))
                return
            if got < target.nbytes or more:
                size = f"more than {got}" if more else f"only {got}"
                self._problem(row, ".dat", f"has {size} bytes, its header asks for {target.nbytes}")

    def _verify(self, start: int, block: np.ndarray) -> None:
        """Compare a block with its headers: initial values, checksums, and no sample marked as invalid."""
        rows = slice(start, start + len(block))
        # int16 sums wrap around at 65536, exactly as the checksum does. NumPy adds long rows much faster than
        # rows of 12, so several time steps are summed side by side first.
        count, length, leads = block.shape
        steps = math.gcd(length, 8)
        sums = block.reshape(count, -1, steps * leads).sum(axis=1, dtype=np.int16)
        sums = sums.reshape(count, steps, leads).sum(axis=1, dtype=np.int16)
        wrong_sum = sums != self._checksums[rows].astype(np.int16)
        wrong_start = block[:, 0] != self._initial[rows]
        any_invalid = block.min() == INVALID_SAMPLE  # rare: only then a second pass
        invalid = (block == INVALID_SAMPLE).any(axis=1) if any_invalid else np.zeros_like(wrong_sum)
        tests = (
            (wrong_sum, "checksum differs from the header"),
            (wrong_start, "first sample differs from the header"),
            (invalid, "samples marked as invalid (-32768)"),
        )
        suspects = (wrong_sum | wrong_start | invalid).any(axis=1) & self._plain[rows]
        for index in np.flatnonzero(suspects):
            for faults, reason in tests:
                if faults[index].any():
                    leads = ", ".join(lead for lead, bad in zip(LEADS, faults[index], strict=True) if bad)
                    self._problem(start + int(index), ".dat", f"{reason} in lead {leads}")
                    break

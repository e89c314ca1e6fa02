"""Independent decoders of plain files: what each lead of an accepted recording must hold.

They know only the simplest layout of a format and give None for any other, of which they say nothing.
"""

from __future__ import annotations

import re

import numpy as np

from utils.ecg import LEADS

Signals = dict[str, np.ndarray] | None


def _lead(text: str) -> str | None:
    return {lead.lower(): lead for lead in LEADS}.get(text.strip().lower())


def wfdb(data: bytes) -> Signals:
    """Format 16, one signal file, gain and unit written out."""
    header, found, samples = data.partition(b"\n=====\n")
    lines = [line for line in header.decode("latin-1").splitlines() if line and not line.startswith("#")]
    first = re.fullmatch(r"record 12 \d+ (\d+)", lines[0]) if found and lines else None
    if not first or len(lines) != 13:
        return None
    count = int(first[1])
    signals: dict[str, np.ndarray] = {}
    for i, line in enumerate(lines[1:]):
        match = re.fullmatch(r"record\.dat 16 (\d+)(?:\.0)?\(0\)/mV 16 0 -?\d+ -?\d+ 0 (\S+)", line)
        lead = _lead(match[2]) if match else None
        if match is None or lead is None or lead in signals or len(samples) != 24 * count:
            return None
        signals[lead] = np.frombuffer(samples, "<i2").reshape(-1, 12)[:, i] / float(match[1])
    return signals


def edf(data: bytes) -> Signals:
    """EDF or BDF with one rate and the unit mV or uV in each signal."""
    try:
        count, records = int(data[252:256]), int(data[236:244])
        width = 3 if data[:1] == b"\xff" else 2

        def field(offset: int, size: int) -> list[str]:
            start = 256 + offset * count
            return [data[start + i * size : start + (i + 1) * size].decode("ascii") for i in range(count)]

        labels, units = field(0, 16), field(96, 8)
        physical = [list(map(float, field(at, 8))) for at in (104, 112)]
        digital = [list(map(int, field(at, 8))) for at in (120, 128)]
        (samples,) = set(map(int, field(216, 8)))
    except (ValueError, UnicodeDecodeError):
        return None
    body = data[256 * (count + 1) :]
    names = [_lead(re.sub(r"(?i)^(ecg|ekg) ", "", label)) for label in labels]
    wanted = records * count * samples * width
    if count != 12 or None in names or len(set(names)) < 12 or records < 1 or len(body) != wanted:
        return None
    if width == 2:
        values = np.frombuffer(body, "<i2").astype(float)
    else:
        padded = np.zeros((len(body) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        values = (padded.view("<i4")[:, 0] >> 8).astype(float)
    values = values.reshape(records, count, samples).transpose(1, 0, 2).reshape(count, -1)
    signals: dict[str, np.ndarray] = {}
    for i, name in enumerate(names):
        scale = {"mv": 1.0, "uv": 1e-3}.get(units[i].strip().lower())
        span = digital[1][i] - digital[0][i]
        if scale is None or not span or name is None:
            return None
        low, high = physical[0][i], physical[1][i]
        signals[name] = scale * (low + (values[i] - digital[0][i]) * (high - low) / span)
    return signals


def csv(data: bytes) -> Signals:
    """Commas, a row of names, numbers in mV."""
    rows = [line.split(",") for line in data.decode("latin-1").split("\n")]
    names = [_lead(cell) for cell in rows[0]]
    rows = rows[1:-1] if rows[-1] == [""] else rows[1:]
    plain = re.compile(r"-?\d+(\.\d+)?")
    if None in names or sorted(map(str, names)) != sorted(LEADS) or not rows:
        return None
    if not all(len(row) == 12 and all(plain.fullmatch(cell) for cell in row) for row in rows):
        return None
    values = np.asarray(rows, float)
    return {str(name): values[:, i] for i, name in enumerate(names)}

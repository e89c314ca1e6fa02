"""The reader of WFDB records, of any signal format, with one or many segments, and of their annotations.

Formats: https://wfdb.io/spec/signal-files.html and https://wfdb.io/spec/annotation-files.html.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from databases.base import Annotations, Marks, Recording, Rhythms, Waves
from databases.wfdb_header import (
    REMEDY,
    Header,
    RecordError,
    attempt,
    check_amount,
    check_checksums,
    check_regular,
    check_sizes,
    defaults,
    read_header,
)
from utils.ecg import LEADS, unit_in_millivolts
from utils.errors import UsageError

WAVE_KINDS = {"p": "P", "N": "QRS", "t": "T", "u": "U"}
_END_OF_ANNOTATIONS = b"\0\0"


@dataclass(frozen=True)
class Channel:
    """One signal of a file, as the file describes it.

    ``values`` (T,): float64, in `unit`; NaN where the file marks a sample as invalid.
    ``unit``: as the file writes it, empty where it says nothing.
    ``rate``: in Hz, None where the file says nothing.
    ``gain``: ADC units per `unit`: ``values * gain`` are the integers of the file, less their zero.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    rate: float | None = None
    gain: float = 1.0


def read_record(
    path: str | os.PathLike,
    leads: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    *,
    sampling_rate: float | None = None,
    dtype: type[np.floating] = np.float32,
) -> Recording:
    """Read leads of a record in mV; a whole record is compared with the checksums of its header.

    `leads` are taken by name (default: every signal that is a voltage), `start` and `stop` in samples. Raises
    RecordError where the record is damaged, has invalid samples or a rate other than `sampling_rate`.
    """
    header = read_header(path)
    if sampling_rate is not None:
        header.check_rate(sampling_rate)
    first, last = start or 0, header.samples if stop is None else stop
    if first < 0 or (last is not None and last <= first) or (header.samples and (last or 0) > header.samples):
        raise UsageError(
            f"record {header.path} has {header.samples} samples: there is no part from {start} to {stop}"
        )
    columns = None if leads is None else _columns(header, leads)
    channels, notes = read_channels(header, columns, first, stop)
    factors = [unit_in_millivolts(channel.unit or "mV") for channel in channels]
    if leads is None and any(factors):
        skipped = [c.name for c, factor in zip(channels, factors, strict=True) if factor is None]
        notes += [f"signals that are not voltages were left out: {', '.join(skipped)}"] if skipped else []
        channels = [c for c, factor in zip(channels, factors, strict=True) if factor is not None]
    elif None in factors:
        unit = channels[factors.index(None)].unit
        raise RecordError(header.path, f"{unit} is not a unit of voltage (mV, uV or V)")
    return Recording(
        signal=_stack(header.path, channels, dtype),
        sampling_rate=channels[0].rate or 0.0,
        leads=tuple(c.name.upper() if c.name.upper() in LEADS else c.name for c in channels),
        notes=[f"{note[0].upper()}{note[1:]}." for note in notes],
        name=header.path.name,
        source=header.path.with_name(f"{header.path.name}.hea"),
    )


def _stack(path: Path, channels: list[Channel], dtype: type[np.floating]) -> np.ndarray:
    """Channels of one rate as an array (T, leads) in mV."""
    if len({channel.rate for channel in channels}) > 1:
        rates = ", ".join(f"{channel.name} {channel.rate:g} Hz" for channel in channels)
        raise RecordError(path, f"leads have different sampling rates ({rates})", "read them one by one")
    signal = np.empty((len(channels[0].values), len(channels)), dtype)
    for column, channel in enumerate(channels):
        if not np.isfinite(channel.values).all():
            raise RecordError(
                path, f"lead {channel.name} has invalid (NaN) samples", f"{REMEDY}, or remove the record"
            )
        signal[:, column] = channel.values * (unit_in_millivolts(channel.unit or "mV") or 1.0)
    return signal


def read_channels(
    header: Header, columns: Sequence[int] | None = None, start: int = 0, stop: int | None = None
) -> tuple[list[Channel], list[str]]:
    """Read signals as the file describes them, and notes on what was verified or assumed."""
    if header.segments:
        signals, notes = _join_segments(header)
        names = signals if columns is None else [header.leads[column] for column in columns]
        if absent := [name for name in names if name not in signals]:
            raise RecordError(header.path, f"none of its segments holds lead {', '.join(absent)}")
        return [replace(signals[n], values=signals[n].values[start:stop]) for n in names], notes
    path = header.path
    check_sizes(header)

    def read(ignore_skew: bool) -> Any:
        return attempt(
            lambda wfdb: wfdb.rdrecord(
                os.fspath(path),
                channels=columns if columns is None else list(columns),
                sampfrom=start,
                sampto=stop,
                physical=False,
                smooth_frames=False,
                ignore_skew=ignore_skew,
            ),
            path,
        )

    record, notes = read(ignore_skew=True), []
    if start == 0 and stop in (None, header.samples):
        notes = check_checksums(path, record) + defaults(header)
    if any(record.skew):
        record = read(ignore_skew=False)
        notes.append("the channels were aligned by the skew in the header")
    values = attempt(lambda _: record.dac(expanded=True), path)
    names = [header.leads[column] for column in columns or range(len(values))]
    parts = zip(names, values, record.units, record.samps_per_frame, record.adc_gain, strict=True)
    rate = header.sampling_rate
    return [
        Channel(name, signal, unit or "", rate and rate * frames, gain)
        for name, signal, unit, frames, gain in parts
    ], notes


def _join_segments(header: Header) -> tuple[dict[str, Channel], list[str]]:
    """Channels over all segments; NaN where a segment is a gap or lacks a signal."""
    path, segments = header.path, header.segments
    total = sum(length for _, length in segments)
    check_amount(path, total * len(header.leads))
    signals: dict[str, Channel] = {}
    first = 0
    for name, length in segments:
        if name != "~" and length:  # a segment without samples only lists the signals
            segment = read_header(path.with_name(name))
            if segment.segments or segment.samples not in (None, length):
                raise RecordError(path, f"segment {name} does not have the {length} samples that are listed")
            channels = read_channels(segment)[0]
            if len({channel.name for channel in channels}) < len(channels):
                raise RecordError(path, f"segment {name} has two signals of one name")
            for channel in channels:
                frames = len(channel.values) // length
                if channel.name not in signals:
                    signals[channel.name] = replace(channel, values=np.full(total * frames, np.nan))
                joined = signals[channel.name]
                if (joined.rate, joined.unit) != (channel.rate, channel.unit):
                    raise RecordError(path, f"{channel.name} changes its rate or unit in segment {name}")
                joined.values[first * frames : (first + length) * frames] = channel.values
                if joined.gain != channel.gain:  # then no gain leads back to the integers of the file
                    signals[channel.name] = replace(joined, gain=1.0)
        first += length
    if not signals:
        raise RecordError(path, "all its segments are empty")
    notes = [f"{len(segments)} segments were joined, their checksums verified where stated"]
    gaps = [name for name, _ in segments].count("~")
    return signals, notes + [f"{gaps} of the segments are gaps without a signal"] * bool(gaps)


def read_annotations(path: str | os.PathLike, suffix: str = "atr", samples: int | None = None) -> Annotations:
    """Read the marks and rhythm intervals of an annotation file; the last rhythm lasts until `samples`."""
    path = Path(path)
    file = path.with_name(f"{path.name}.{suffix}")
    check_regular(file, path)
    content = attempt(lambda _: file.read_bytes(), path, f".{suffix}")
    if content[-2:] != _END_OF_ANNOTATIONS:  # wfdb reads such a file as far as it goes, most often in silence
        raise RecordError(path, f".{suffix} is cut off (it has no end mark)")
    found = attempt(lambda wfdb: wfdb.rdann(os.fspath(path), suffix), path, f".{suffix}")
    marks = Marks(np.asarray(found.sample, dtype=np.int64), np.asarray(found.symbol, dtype=str))
    return Annotations(marks, rhythms=_rhythms(marks, found.aux_note, samples))


def _rhythms(marks: Marks, notes: Sequence[str], samples: int | None) -> Rhythms:
    """Intervals from rhythm changes: ``+`` with ``(AFIB`` begins one, the next or ``)`` ends it."""
    changes = [
        (int(sample), note.strip("\0 "))
        for sample, symbol, note in zip(*marks, notes, strict=True)
        if symbol == "+" and note and note[0] in "()"
    ]
    last = samples if samples is not None else int(marks.samples[-1]) + 1 if len(marks.samples) else 0
    ends = [*(sample for sample, _ in changes), last][1:]
    parts = [(at, end, note[1:]) for (at, note), end in zip(changes, ends, strict=True) if note[0] == "("]
    start, end, name = zip(*parts, strict=True) if parts else ((), (), ())
    return Rhythms(np.array(start, np.int64), np.array(end, np.int64), np.array(name, dtype=str))


def find_waves(marks: Marks, lead: str = "") -> Waves:
    """Waves of a lead from the codes ``(``, ``p``, ``N``, ``t``, ``u`` and ``)`` of PhysioNet."""
    symbols, samples = ["", *marks.symbols.tolist(), ""], [-1, *marks.samples.tolist(), -1]
    peaks = [place for place, symbol in enumerate(symbols) if symbol in WAVE_KINDS]
    onsets = [samples[place - 1] if symbols[place - 1] == "(" else -1 for place in peaks]
    offsets = [samples[place + 1] if symbols[place + 1] == ")" else -1 for place in peaks]
    return Waves(
        np.array(onsets, np.int64),
        np.array(samples, np.int64)[peaks],
        np.array(offsets, np.int64),
        np.array([WAVE_KINDS[symbols[place]] for place in peaks], dtype="U3"),
        np.full(len(peaks), lead),
    )


def _columns(header: Header, leads: Sequence[str]) -> list[int]:
    names = [name.upper() for name in header.leads]
    for fault, wrong in (
        ("has no lead", [lead for lead in leads if names.count(lead.upper()) == 0]),
        ("has more than one lead", [lead for lead in leads if names.count(lead.upper()) > 1]),
    ):
        if wrong:
            reason = f"{fault} {', '.join(wrong)} (it has {', '.join(header.leads)})"
            raise RecordError(header.path, reason)
    return [names.index(lead.upper()) for lead in leads]

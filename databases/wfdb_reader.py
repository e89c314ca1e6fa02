"""The reader of WFDB records, of any signal format, with one or many segments.

Format: https://wfdb.io/spec/signal-files.html.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from databases.base import Recording
from databases.wfdb_files import checksums
from databases.wfdb_header import (
    DEFAULT_GAIN,
    REMEDY,
    Header,
    RecordError,
    Signal,
    parse_header,
    read_header,
)
from databases.wfdb_signals import check_amount, signal_groups, to_physical
from utils.ecg import LEADS, unit_in_millivolts
from utils.errors import UsageError

DEFAULT_GAIN_ASSUMED = "200 units per mV assumed"
ALIGNED = "the channels were aligned"


@dataclass(frozen=True)
class Channel:
    """One signal of a file, as the file describes it.

    ``values`` (T,): float64, in `unit`; NaN where the file marks a sample as invalid.
    ``unit``: as the file writes it, empty where it says nothing.
    ``rate``: in Hz, None where the file says nothing.
    ``gain``: ADC units per `unit`: ``values * gain`` are the integers of the file, less their zero; None
    where no single gain leads back to them.
    ``fault``: why the file does not say what its integers mean; `values` cannot be used without a gain.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    rate: float | None = None
    gain: float | None = 1.0
    fault: str = ""


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
    rate = channels[0].rate
    if rate is None:
        raise RecordError(header.path, "header says no sampling rate", "add it to its first line")
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
        sampling_rate=rate,
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
    header: Header,
    columns: Sequence[int] | None = None,
    start: int = 0,
    stop: int | None = None,
    needed: int | None = None,
) -> tuple[list[Channel], list[str]]:
    """Read signals as the file describes them, and notes on what was verified or assumed.

    Frames `start` to `stop` are read. A file that ends too early is refused, unless it holds the frames up to
    `needed`: then the others are NaN.
    """
    if header.segments:
        return _join_segments(header, columns, start, stop, needed)
    path = header.path
    notes = list(header.remarks)
    if columns is None:
        columns = [column for column, signal in enumerate(header.signals) if signal.file]
        if empty := [signal.name for signal in header.signals if columns and not signal.file]:
            notes.append(f"the header gives no file for {', '.join(empty)}, which was left out")
    groups = signal_groups(header, columns or range(len(header.signals)))
    whole = header.samples or min(group.available for group in groups)
    last = whole if stop is None else min(stop, whole)
    for group in groups:
        notes += group.check_size(header.samples, whole if needed is None else min(needed, whole))
    check_amount(path, (last - start) * sum(group.width for group in groups))
    if not header.samples:
        notes.append(f"the header gives no number of samples: {whole} taken from the size of the file")
    skews = [header.signals[column].skew for column in columns]
    if max(skews) > whole:
        raise RecordError(
            path, f"header gives a skew of {max(skews)}, beyond the end of the signals", "correct the header"
        )
    channels: dict[int, Channel] = {}
    verified: list[bool] = []
    # The default gain is for records that state none; where other signals state one, it is a field left out.
    stated = any(s.gain and unit_in_millivolts(s.unit or "mV") for s in header.signals)
    for group in groups:
        longest = min(last + max(skews), whole)
        samples = group.read(start, longest)
        for column, signal, digital in zip(group.columns, group.signals, samples, strict=True):
            if column not in columns:
                continue
            if start == 0 and longest == whole and len(digital) == whole * signal.frames:
                verified.append(_verify(path, group.file, signal, digital))
                notes += [] if verified[-1] else _compare_first(group.file, signal, digital)
            values = to_physical(digital[signal.skew * signal.frames :], signal, DEFAULT_GAIN)
            length = (last - start) * signal.frames
            if len(values) != length:
                values = np.concatenate([values[:length], np.full(max(0, length - len(values)), np.nan)])
            rate = header.sampling_rate and header.sampling_rate * signal.frames
            gain = signal.gain or DEFAULT_GAIN
            fault = "" if signal.gain or not stated else "its gain is 0 or not there, though others have one"
            channels[column] = Channel(signal.name, values, signal.unit, rate, gain, fault)
    if stop is None and start == 0:
        notes += _assumptions([header.signals[column] for column in columns])
        notes += _verification(verified, len(columns))
    if any(skews):
        notes.append(f"{ALIGNED} by the skew in the header, up to {max(skews)} samples: the last are missing")
    return [channels[column] for column in columns], notes


def _verify(path: Path, file: Path, signal: Signal, samples: np.ndarray) -> bool:
    """Compare the 16-bit sum of the samples with the header's; False where it states none."""
    if signal.checksum is None:
        return False
    actual, stated = int(checksums(samples)), signal.checksum % 65536
    if actual == stated:
        return True
    if stated == 0:  # writers fill fields that they do not know with zeros (all of the CinC Challenge 2017)
        return False
    raise RecordError(
        path,
        f"checksum of lead {signal.name} is {stated} in the header but {actual} in {file.name}: the samples "
        "were changed or damaged",
    )


def _compare_first(file: Path, signal: Signal, samples: np.ndarray) -> list[str]:
    """Note where the first sample, of signals without a checksum, is another than the header says."""
    if not signal.initial or not len(samples) or int(samples[0]) == signal.initial:
        return []
    return [
        f"WARNING: lead {signal.name} begins with {samples[0]} in {file.name}, with {signal.initial} by the "
        "header, which has no checksum: one of them may have been changed"
    ]


def _verification(verified: list[bool], count: int) -> list[str]:
    if not any(verified):
        return ["the header has no checksums, so the samples could not be verified"]
    return [f"checksums of {sum(verified)} of {count} signals verified"]


def _assumptions(signals: Sequence[Signal]) -> list[str]:
    """Name the values that the WFDB format supplies where a header leaves them out."""
    notes = []
    if any(signal.gain is None for signal in signals):
        notes.append(f"the header gives no gain for some signals: {DEFAULT_GAIN_ASSUMED}, the WFDB default")
    if any(not signal.unit for signal in signals):
        notes.append("the header gives no unit for some signals: mV assumed, the WFDB default")
    return notes


def _join_segments(
    header: Header,
    columns: Sequence[int] | None,
    start: int,
    stop: int | None,
    needed: int | None,
) -> tuple[list[Channel], list[str]]:
    """Channels over all segments; NaN where a segment is a gap or lacks a signal."""
    path = header.path
    total = sum(length for _, length in header.segments)
    last = total if stop is None else min(stop, total)
    joined: dict[str, Channel] = {}
    notes, gaps, first = list(header.remarks), [], 0
    for file, length in header.segments:  # "~" is a gap; one without samples only lists the signals
        begin, end = max(start, first), min(last, first + length)
        if file and end > begin:
            segment = parse_header(file.with_suffix(""))
            if segment.segments or segment.samples not in (None, length):
                raise RecordError(
                    path,
                    f"segment {segment.path.name} does not have the {length} samples that are listed",
                    "correct the header",
                )
            own = None if needed is None else max(0, needed - first)
            whole = begin == first and end == first + length
            part = (0, None) if whole else (begin - first, end - first)
            channels, more = read_channels(segment, None, part[0], part[1], own)
            notes += [note for note in more if note not in notes and "checksums" not in note]
            _place(header, joined, channels, begin - start, end - start, last - start)
        elif file is None and end > begin:
            gaps.append((begin, end))
        first += length
    if not joined:
        raise RecordError(path, "all its segments are empty" if start == 0 else "this part is a gap", REMEDY)
    names = list(joined) if columns is None else [header.leads[column] for column in columns]
    if absent := [name for name in names if name not in joined]:
        raise RecordError(path, f"none of its segments holds lead {', '.join(absent)}", "choose other leads")
    notes.insert(0, f"{len(header.segments)} segments were joined, their checksums verified where stated")
    rate = header.sampling_rate or next(iter(joined.values())).rate
    for begin, end in gaps:
        where = f"{begin / rate:g} to {end / rate:g} s" if rate else f"sample {begin} to {end}"
        notes.append(f"there is a gap without a signal from {where}")
    return [joined[name] for name in names], notes


def _place(
    header: Header, joined: dict[str, Channel], channels: list[Channel], begin: int, end: int, total: int
) -> None:
    """Put the channels of a segment into the joined ones, in the unit of the first."""
    path = header.path
    if len({channel.name for channel in channels}) < len(channels):
        raise RecordError(path, "a segment has two signals of one name", "name them in its header")
    for channel in channels:
        frames = len(channel.values) // (end - begin)
        rate = channel.rate or (header.sampling_rate and header.sampling_rate * frames)
        target = joined.get(channel.name)
        if target is None:
            check_amount(path, total * frames + sum(len(known.values) for known in joined.values()))
            target = replace(channel, values=np.full(total * frames, np.nan), rate=rate)
            joined[channel.name] = target
        if rate != target.rate:
            raise RecordError(
                path,
                f"signal {channel.name} changes its sampling rate from {target.rate or 0:g} to {rate or 0:g} "
                "Hz between segments",
                "read its segments one by one",
            )
        factor = _unit_factor(channel.unit, target.unit)
        if factor is None:
            raise RecordError(
                path,
                f"signal {channel.name} changes its unit between segments ({target.unit}, {channel.unit})",
                "read its segments one by one",
            )
        target.values[begin * frames : end * frames] = channel.values * factor
        if target.gain != channel.gain or factor != 1:
            joined[channel.name] = replace(target, gain=None)


def _unit_factor(unit: str, target: str) -> float | None:
    """Factor from one unit of voltage to another; no unit is mV."""
    if unit == target:
        return 1.0
    size, wanted = unit_in_millivolts(unit or "mV"), unit_in_millivolts(target or "mV")
    return size / wanted if size and wanted else None


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

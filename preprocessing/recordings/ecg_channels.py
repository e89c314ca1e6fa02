"""From the channels of a file to the twelve leads: names, one sampling rate, millivolts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import ADC_UNITS, RawFile
from preprocessing.recordings.gaps import is_missing, resample_with_gaps
from preprocessing.recordings.lead_names import map_names, ready_line
from utils.ecg import LEADS, display_name, unit_in_millivolts
from utils.errors import DataError, UsageError
from utils.text import listed, printable

# Median over the leads of peak to peak, in mV. 2,700 real 12-lead records lie between 0.38 and 4.5. Beyond
# PLAUSIBLE_MV a recording is refused; beyond LIKELY_MV, where a factor of ten leads, mV are never guessed.
PLAUSIBLE_MV = (0.05, 20.0)
LIKELY_MV = (0.25, 7.0)
ASSUMED_MV = (0.3, 5.0)  # beyond, an assumed unit or gain is doubtful
REAL_MV = "real ECGs have 0.4 to 4.5"
_RATES_HZ = (10.0, 100_000.0)
UNIT_HELP = "--units mV, uV, V or a gain such as 1000/mV (1000 ADC units per mV)"


def select_leads(
    source: Path, raw: RawFile, names: Sequence[str] | None, notes: list[str], any_leads: bool = False
) -> tuple[dict[str, Channel], list[str]]:
    """Choose the channels that are standard leads, and say which of the twelve follow from others.

    With ``any_leads`` less than twelve will do, and where no channel is a standard lead, all of voltage.
    """
    labels = [channel.name for channel in raw.channels]
    mapped = map_names(source, labels, names, notes)
    if any_leads and not any(mapped):
        return _unnamed(source, raw, notes), []
    chosen: dict[str, Channel] = {}
    for name, channel in zip(mapped, raw.channels, strict=True):
        if name is None:
            continue
        if name.lead in chosen:
            raise DataError(
                f"{source}: '{chosen[name.lead].name}' and '{channel.name}' both name lead "
                f"{display_name(name.lead)}; rename one, or name all channels with --leads (- leaves one out)"
            )
        if channel.name in raw.faults:
            raise DataError(raw.faults[channel.name])
        chosen[name.lead] = replace(channel, values=-channel.values) if name.inverted else channel
    ignored = [label for label, name in zip(labels, mapped, strict=True) if name is None]
    if ignored:
        notes.append(f"Channels that are none of the 12 leads were ignored: {listed(ignored)}.")
    if any(len(channel.values) == 0 for channel in chosen.values()):
        raise DataError(f"{source}: holds no samples")
    missing = [lead for lead in LEADS if lead not in chosen]
    derived = (
        [lead for lead in missing if lead in ("III", "AVR", "AVL", "AVF")]
        if {"I", "II"} <= set(chosen)
        else []
    )
    if set(missing) - set(derived) and any_leads and chosen:
        return {lead: chosen[lead] for lead in LEADS if lead in chosen}, []
    if set(missing) - set(derived):
        shown = ", ".join(display_name(lead) for lead in missing if lead not in derived)
        raise DataError(
            f"{source}: lead {shown} missing; the channels are: {listed(labels)}. All 12 leads are needed "
            "(III, aVR, aVL, aVF are derived from I and II); where they are there under other names, "
            f"give the names of all channels in file order with --leads{ready_line(mapped)}"
        )
    if derived:
        shown = ", ".join(display_name(lead) for lead in derived)
        notes.append(f"Derived exactly from I and II, because the file lacks them: {shown}.")
    found = [name.lead for name in mapped if name is not None]
    if found != [lead for lead in LEADS if lead in chosen]:
        order = ", ".join(map(display_name, found))
        notes.append(f"Leads were brought from the order of the file ({order}) into the standard order.")
    return chosen, derived


def _unnamed(source: Path, raw: RawFile, notes: list[str]) -> dict[str, Channel]:
    """Channels of voltage under their own names, of a file that names none of the twelve."""
    chosen: dict[str, Channel] = {}
    ignored = []
    for number, channel in enumerate(raw.channels, 1):
        name = printable(channel.name, 40) or f"channel {number}"
        other_unit = channel.unit not in ("", ADC_UNITS) and unit_in_millivolts(channel.unit) is None
        if other_unit or channel.name in raw.faults:
            ignored.append(name)
        elif name in chosen:
            raise DataError(f"{source}: two channels are named '{name}'; rename one, or use --leads")
        else:
            chosen[name] = channel
    if not chosen or not all(len(channel.values) for channel in chosen.values()):
        first = next(iter(raw.faults.values()), f"{source}: no channel holds samples in a unit of voltage")
        raise DataError(first)
    if ignored:
        notes.append(f"Channels of another unit than voltage were ignored: {listed(ignored)}.")
    notes.append(f"The file names none of the 12 leads; read as leads were: {listed(list(chosen))}.")
    return chosen


def _check_lengths(source: Path, channels: dict[str, Channel]) -> None:
    counts = {display_name(lead): len(channel.values) for lead, channel in channels.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{lead} {count:,}" for lead, count in counts.items())
        raise DataError(
            f"{source}: the leads have different numbers of samples ({shown}): the file was cut or exported "
            "in part; export it again"
        )


def common_rate(
    source: Path, raw: RawFile, channels: dict[str, Channel], asked: float | None, notes: list[str]
) -> float:
    """Find the sampling rate of all leads; slower channels are upsampled to the highest."""
    stated = {channel.rate for channel in channels.values()} - {None}
    if asked is not None and not (math.isfinite(asked) and _RATES_HZ[0] <= asked <= _RATES_HZ[1]):
        raise UsageError(
            f"--sampling_rate {asked:g}: must lie between {_RATES_HZ[0]:g} and {_RATES_HZ[1]:g} Hz"
        )
    if not stated:
        if asked is None:
            unknown = any(
                channel.unit and unit_in_millivolts(channel.unit) is None for channel in channels.values()
            )
            raise UsageError(
                f"{source}: the file does not say its sampling rate; give it in Hz with --sampling_rate, for "
                f"example --sampling_rate 500{f'. Its units are needed too: {UNIT_HELP}' if unknown else ''}"
            )
        _check_lengths(source, channels)
        notes.append(f"Sampling rate {asked:g} Hz as given with --sampling_rate.")
        return float(asked)
    rate = max(value for value in stated if value is not None)
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise DataError(
            f"{source}: states a sampling rate of {rate:g} Hz, which no ECG has; correct the file"
        )
    if len(stated) > 1:
        slower = [lead for lead, channel in channels.items() if channel.rate != rate]
        for lead in slower:
            values = resample_with_gaps(channels[lead].values, channels[lead].rate or rate, rate)
            channels[lead] = replace(channels[lead], values=values)
        shown = ", ".join(f"{display_name(lead)} ({channels[lead].rate:g} Hz)" for lead in slower)
        notes.append(
            f"Leads stored at lower rates were brought to {rate:g} Hz: {shown}; there is nothing above half "
            "of its own rate in a lead."
        )
    _check_lengths(source, channels)
    if asked is not None and abs(asked - rate) > 1e-3 * rate:
        raise UsageError(
            f"{source}: --sampling_rate {asked:g} contradicts the file, which says {rate:g} Hz; "
            "leave the option out, or correct the file"
        )
    notes.append(f"Sampling rate {rate:g} Hz, {len(next(iter(channels.values())).values) / rate:.6g} s.")
    return rate


def to_millivolts(
    source: Path, channels: dict[str, Channel], asked: str | None, notes: list[str], used: slice = slice(None)
) -> dict[str, np.ndarray]:
    """Convert to mV by the units asked for, else the file's, else as mV if the amplitude of a part agrees.

    In place, as recordings may be long; what is not a number that can be used becomes NaN.
    """
    stated = {lead: channel.unit.strip() for lead, channel in channels.items()}
    shown = ", ".join(sorted({unit or "none" for unit in stated.values()}))
    if asked is not None:
        gain = re.fullmatch(r"([\d.]+)\s*/\s*mV", asked.strip(), re.IGNORECASE)
        if gain and (value := _positive(gain[1])):
            if mixed := [display_name(lead) for lead, channel in channels.items() if channel.gain is None]:
                raise UsageError(
                    f"{source}: --units {asked} needs the integers of the file, but gain or unit of lead "
                    f"{', '.join(mixed)} changes between its segments; leave the option out"
                )
            notes.append(
                f"Gain {value:g} ADC units per mV as given with --units; units in the file: {shown}."
            )
            return _scale(channels, {lead: (channel.gain or 1) / value for lead, channel in channels.items()})
    if uncalibrated := {lead: channel.fault for lead, channel in channels.items() if channel.fault}:
        shown = "; ".join(f"lead {display_name(lead)}: {fault}" for lead, fault in uncalibrated.items())
        raise UsageError(
            f"{source}: {len(uncalibrated)} of {len(channels)} leads have no calibration ({shown}); export "
            "the file again, or give the gain of all leads, such as --units 400/mV (400 ADC units per mV)"
        )
    if asked is not None:
        if (factor := unit_in_millivolts(asked)) is None:
            raise UsageError(f"--units '{asked}' is not known: give {UNIT_HELP}")
        notes.append(f"Units {asked} as given with --units; units in the file: {shown}.")
        return _scale(channels, dict.fromkeys(channels, factor))
    if not any(stated.values()):
        _guess_millivolts(source, channels, notes, used)
        return _scale(channels, dict.fromkeys(channels, 1.0))
    factors = {}
    for lead in channels:
        if (factor := unit_in_millivolts(stated[lead])) is None:
            raise UsageError(
                f"{source}, lead {display_name(lead)}: the unit '{stated[lead] or 'none'}' is not one of "
                f"voltage; give {UNIT_HELP}"
            )
        factors[lead] = factor
    if set(stated.values()) != {"mV"}:
        notes.append(f"Units in the file ({shown}) were converted to mV.")
    else:
        notes.append("Units are mV, as the file says.")
    return _scale(channels, factors)


def _scale(channels: dict[str, Channel], factors: dict[str, float]) -> dict[str, np.ndarray]:
    """Multiply the values of channels, whose gains lead to the integers of the file as before."""
    for lead, factor in factors.items():
        channel = channels[lead]
        values = channel.values if channel.values.flags.writeable else channel.values.copy()
        missing = is_missing(values)
        if missing.any():
            values[missing] = np.nan
        values *= factor
        channels[lead] = replace(channel, values=values, gain=channel.gain and channel.gain / factor)
    return {lead: channel.values for lead, channel in channels.items()}


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 else None


def _guess_millivolts(source: Path, channels: dict[str, Channel], notes: list[str], used: slice) -> None:
    """Note that mV are assumed where the amplitude fits them alone; raise where it does not."""
    size = median_peak_to_peak(np.stack([channel.values[used] for channel in channels.values()], axis=1))
    if not LIKELY_MV[0] <= size <= LIKELY_MV[1]:
        guess = "looks like microvolts or ADC units" if size > PLAUSIBLE_MV[1] else "fits no unit of voltage"
        guess = "looks like volts" if size < PLAUSIBLE_MV[0] else guess
        raise UsageError(
            f"{source}: the file does not say its units, and a median peak-to-peak of {size:.4g} {guess}, "
            f"not mV ({REAL_MV}); give {UNIT_HELP}"
        )
    notes.append(f"Units not given: mV assumed because the median peak-to-peak is {size:.2g} mV.")
    warn_of_assumed(size, notes)


def warn_of_assumed(size: float, notes: list[str]) -> None:
    """Warn of units or a gain that were assumed, where the amplitude in mV does not support them."""
    if not ASSUMED_MV[0] <= size <= ASSUMED_MV[1]:
        notes.insert(
            0,
            f"WARNING: the unit is assumed, and a median peak-to-peak of {size:.2g} mV is unusual "
            f"({REAL_MV}): give {UNIT_HELP}.",
        )


def median_peak_to_peak(signals: np.ndarray) -> float:
    """Median over the leads of the peak-to-peak amplitude; signals (T, leads)."""
    signals = np.where(is_missing(signals), np.nan, signals)
    return float(np.median(np.nanmax(signals, axis=0) - np.nanmin(signals, axis=0)))

"""Your own ECG in, a clean (T, 12) record in mV out, with every assumption written down.

`find_recordings` lists what a path holds, `read_recording` reads one file at its own rate, maps leads and
units by name and checks the signals, `prepare` brings it to the rate and length of a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from databases.base import Recording
from preprocessing.recordings.checks import check_channels, check_part, check_signals, note_outside
from preprocessing.recordings.ecg_channels import common_rate, select_leads, to_millivolts
from preprocessing.recordings.formats import Request, recognize
from preprocessing.recordings.gaps import hold
from preprocessing.recordings.limb_leads import derive_limb_leads
from preprocessing.recordings.search import find_recordings, locate
from preprocessing.transforms.resample import ratio, resample
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

__all__ = ["find_recordings", "prepare", "read_recording"]


def read_recording(
    path: str | Path,
    sampling_rate: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | str | None = None,
    start: float | None = None,
    seconds: float | None = None,
) -> Recording:
    """Read one 12-lead ECG at its own sampling rate and check it, or the part of it that is used.

    Parameters
    ----------
    path : path-like
        A file of any format (docs/tutorials/own_ecg.md), or a WFDB record without ending.
    sampling_rate : float, optional
        In Hz, for files that do not say it; a file that says otherwise is an error.
    units : str, optional
        ``mV``, ``uV``, ``V``, or a gain such as ``1000/mV`` that replaces the one in the file. It outranks
        the file, because headers are wrong at times; the amplitude is checked afterwards.
    leads : sequence of str or str, optional
        The true names of all signals in file order (a string is split at commas); ``-`` leaves one out.
    start, seconds : float, optional
        Part that is going to be used; all of the recording unless `seconds` is given. It alone is checked:
        what is wrong elsewhere is a note, and missing samples there are NaN.

    Returns
    -------
    Recording
        Twelve leads in mV, the whole recording; ``notes`` tells how they came about.

    Raises
    ------
    DataError
        Missing, unreadable, truncated or damaged file; missing or doubled leads; NaN; a flat lead;
        implausible amplitude; limb leads that contradict each other.
    UsageError
        Rate or units are needed or contradict the file, or an option cannot be read.
    """
    source = locate(Path(path))
    names = [name.strip() for name in leads.split(",")] if isinstance(leads, str) else leads
    item = recognize(source)
    needed = None if seconds is None else (start or 0.0) + seconds
    raw = item.read(source, Request(sampling_rate, units, names, needed))
    notes = [f"{note[0].upper()}{note[1:]}." for note in raw.notes]
    if source.suffix.lower() not in item.suffixes:
        notes.append(f"The file is {item.name} by its content, whatever its ending.")
    channels, derived = select_leads(source, raw, names, notes)
    rate = common_rate(source, raw, channels, sampling_rate, notes)
    count = len(next(iter(channels.values())).values)
    used = _part(source, count, rate, start, seconds)
    check_channels(source, channels, used, rate)
    signals = to_millivolts(source, channels, units, notes, used)
    if derived:
        signals = derive_limb_leads(signals["I"], signals["II"]) | signals
    array = np.stack([signals[lead] for lead in LEADS], axis=1)
    check_signals(source, array[used], derived, notes, channels, used)
    if used.stop - used.start < count:
        notes += note_outside(source, array, derived, channels, used, rate)
    return Recording(array.astype(np.float32), rate, LEADS, notes, source.stem, source)


def _part(source: Path, count: int, rate: float, start: float | None, seconds: float | None) -> slice:
    """Samples of a part; of a recording that is too short, which `prepare` refuses, what there is."""
    if start is not None and not 0 <= start * rate < count:
        raise UsageError(f"{source}: --start {start:g} lies outside the recording of {count / rate:.6g} s")
    if seconds is None:
        return slice(0, count)
    first = min(round((start or 0.0) * rate), count - 1)
    return slice(first, min(count, first + math.ceil(seconds * rate)))


def prepare(
    recording: Recording, sampling_rate: float, samples: int, start: float | None = None
) -> Recording:
    """Bring a recording to the rate (Hz) and length that a model takes, from `start` (s) on; never padded.

    Refuses a recording that is too short, and a flat lead in the part used.
    """
    source = recording.source or Path(recording.name)
    notes, rate, signals = list(recording.notes), recording.sampling_rate, recording.signal
    given, needed = len(signals) / rate, samples / sampling_rate
    used = _part(source, len(signals), rate, start, needed)
    signals = hold(signals)
    if rate != sampling_rate:
        factor = ratio(rate, sampling_rate)
        signals = resample(signals, rate, sampling_rate)
        notes.append(
            f"{rate:g} Hz -> {sampling_rate:g} Hz with an anti-aliasing FIR "
            f"(resample_poly {factor.numerator}/{factor.denominator})."
        )
        if rate < sampling_rate:
            notes.append(
                f"There is nothing above {rate / 2:g} Hz in it: the recording was slower than the model."
            )
    first = round((start or 0.0) * sampling_rate)
    if len(signals) - first < samples:
        after = f" after {start:g} s" if start else ""
        raise DataError(
            f"{source}: {needed:g} s are needed ({samples} samples at {sampling_rate:g} Hz), but "
            f"the recording has {(len(signals) - first) / sampling_rate:.6g} s{after}; it is not padded: "
            f"record {needed:g} s or more"
        )
    if len(signals) > samples:
        notes.append(
            f"{given:.6g} s were given, the {needed:g} s from {first / sampling_rate:g} s on were used; "
            "choose others with --start."
        )
    # Not of what was resampled: the filter lets the neighborhood of a flat part leak into it.
    check_part(source, recording.signal, used, rate)
    signals = np.ascontiguousarray(signals[first : first + samples], dtype=np.float32)
    return replace(recording, signal=signals, sampling_rate=float(sampling_rate), notes=notes)

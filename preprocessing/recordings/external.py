"""Your own ECG in, a clean (T, 12) record in mV out, with every assumption written down.

`find_recordings` lists what a path holds, `read_recording` reads one file at its own rate, maps leads and
units by name and checks the signals, `prepare` brings it to the rate and length of a model.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from databases.base import Fault, Recording
from databases.wfdb_reader import ALIGNED
from preprocessing.recordings.checks import check_channels, check_signals
from preprocessing.recordings.ecg_channels import common_rate, select_leads, to_millivolts
from preprocessing.recordings.formats import Request, recognize, split_member
from preprocessing.recordings.gaps import hold, is_missing
from preprocessing.recordings.limb_leads import derive_limb_leads
from preprocessing.recordings.lost import LOST
from preprocessing.recordings.order import median
from preprocessing.recordings.quality import find_faults
from preprocessing.recordings.quality_notes import check_used, describe, note_beats, warnings
from preprocessing.recordings.search import find_recordings, locate
from preprocessing.transforms.filters import remove_mains
from preprocessing.transforms.resample import neighborhood, ratio, resample
from utils.ecg import LEADS, display_name
from utils.errors import DataError, UsageError

_REACH_SECONDS = 1800  # before and after the part used
_OFFSET_MV = 0.5  # beyond it is the level of a lead in 2 of 1,000 records of PTB-XL

__all__ = ["find_recordings", "prepare", "read_recording"]


def read_recording(
    path: str | Path,
    sampling_rate: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | str | None = None,
    start: float | None = None,
    seconds: float | None = None,
    any_leads: bool = False,
) -> Recording:
    """Read one 12-lead ECG at its own sampling rate and check it, or the part of it that is used.

    Parameters
    ----------
    path : path-like
        A file of any format (docs/tutorials/own_ecg.md), or a WFDB record without ending. Of an HDF5 file
        with several recordings one is named by its number, ``exams.hdf5:17``, or by a list of the file,
        ``exams.hdf5:exam_id=1169160``.
    sampling_rate : float, optional
        In Hz, for files that do not say it; a file that says otherwise is an error.
    units : str, optional
        ``mV``, ``uV``, ``V``, or a gain such as ``1000/mV`` that replaces the one in the file. It outranks
        the file, because headers are wrong at times; the amplitude is checked afterwards.
    leads : sequence of str or str, optional
        The true names of all signals in file order (a string is split at commas); ``-`` leaves one out.
    start, seconds : float, optional
        Part that is going to be used, which alone is checked; all of the recording unless `seconds` is given.
        Missing samples are NaN; in a part that is named they are refused.
    any_leads : bool
        Read whichever leads there are: one or several of the twelve, or, where the file names none of them,
        all its channels of voltage under their own names. They are checked for lost stretches alone.

    Returns
    -------
    Recording
        Leads in mV, the whole recording; ``notes`` tells how they came about and, unless a part is
        named, warns of what is lost or distorted.

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
    file, member = split_member(source)
    item = recognize(file)
    needed = None if seconds is None else (start or 0.0) + seconds
    raw = item.read(file, Request(sampling_rate, units, names, needed, member, any_leads))
    notes = [f"{note[0].upper()}{note[1:]}." for note in raw.notes]
    if file.suffix.lower() not in item.suffixes:
        notes.append(f"The file is {item.name} by its content, whatever its ending.")
    channels, derived = select_leads(source, raw, names, notes, any_leads)
    rate = common_rate(source, raw, channels, sampling_rate, notes)
    count = len(next(iter(channels.values())).values)
    used = _part(source, count, rate, start, seconds)
    hints = [note for note in raw.notes if note.startswith(("WARNING", ALIGNED))]
    with _explained(hints):
        check_channels(source, channels, used, rate, gaps=seconds is None)
    signals = to_millivolts(source, channels, units, notes, used)
    if derived:
        signals = derive_limb_leads(signals["I"], signals["II"]) | signals
    found = LEADS if set(signals) == set(LEADS) else tuple(signals)
    array = np.empty((count, len(found)), np.float32)
    for column, lead in enumerate(found):
        array[:, column] = signals[lead]
    judged = np.stack([signals[lead][used] for lead in found], axis=1)
    with _explained(hints):
        check_signals(source, judged, derived, notes, channels, used, rate)
    # Who names a part goes on to `prepare`, which looks for faults in it.
    faults: list[Fault] = []
    if seconds is None and count <= _REACH_SECONDS * rate:
        faults = find_faults(array, rate, leads=found)
    notes += warnings(faults)
    name = source.stem if member is None else f"{file.stem}:{member}"
    return Recording(array, rate, found, notes, name, source, faults)


@contextlib.contextmanager
def _explained(hints: Sequence[str]) -> Iterator[None]:
    """Add to what is refused what the reader has noticed, which may be the cause."""
    try:
        yield
    except DataError as error:
        if not hints:
            raise
        raise DataError(f"{error}. The cause may be: {'; '.join(hints)}") from error


def _remove_offsets(
    signals: np.ndarray,
    rate: float,
    leads: Sequence[str],
    faults: Sequence[Fault],
    start: float,
    notes: list[str],
) -> None:
    """Subtract, in place, levels that no heart makes: electrodes and converters do; shape (T, leads)."""
    live = np.ones(signals.shape, dtype=bool)
    for fault in faults:
        if fault.kind in LOST:
            part = slice(round((fault.start - start) * rate), round((fault.end - start) * rate) + 1)
            live[part, leads.index(fault.lead)] = False
    if live.all():
        levels = median(np.ascontiguousarray(signals.T))
    else:
        levels = np.array(
            [np.median(signals[rows, i]) if rows.any() else 0.0 for i, rows in enumerate(live.T)]
        )
    far = np.abs(levels) > _OFFSET_MV
    if far.any():
        signals -= np.where(far, levels, 0).astype(signals.dtype)
        shown = [f"{display_name(leads[i])} {levels[i]:.3g} mV" for i in np.flatnonzero(far).tolist()]
        notes.append(f"Constant offsets were subtracted: {', '.join(shown)}.")


def _part(source: Path, count: int, rate: float, start: float | None, seconds: float | None) -> slice:
    """Samples of a part; of a recording that is too short, which `prepare` refuses, what there is."""
    if start is not None and not 0 <= start * rate < count:
        raise UsageError(f"{source}: --start {start:g} lies outside the recording of {count / rate:.6g} s")
    if seconds is None:
        return slice(0, count)
    first = min(round((start or 0.0) * rate), count - 1)
    return slice(first, min(count, first + math.ceil(seconds * rate)))


def _lost_outside(recording: Recording, used: slice) -> list[Fault]:
    """Lost stretches outside the part used, as far as half an hour away."""
    rate = recording.sampling_rate
    first, last = (
        max(0, used.start - round(_REACH_SECONDS * rate)),
        used.stop + round(_REACH_SECONDS * rate),
    )
    if used.start == 0 and used.stop >= len(recording.signal):
        return []
    faults = find_faults(recording.signal[first:last], rate, first / rate, True, recording.leads)
    start, end = used.start / rate, used.stop / rate
    before = [fault._replace(end=min(fault.end, start)) for fault in faults if fault.start < start]
    return before + [fault._replace(start=max(fault.start, end)) for fault in faults if fault.end > end]


def whole_length(recording: Recording, sampling_rate: float, start: float | None = None) -> int:
    """Samples of a recording at another rate from `start` (s) on."""
    length = math.ceil(len(recording.signal) * ratio(recording.sampling_rate, sampling_rate))
    return max(1, length - round((start or 0.0) * sampling_rate))


def prepare(
    recording: Recording,
    sampling_rate: float,
    samples: int,
    start: float | None = None,
    notch: int | None = None,
) -> Recording:
    """Bring a recording to the rate (Hz) and length that a model takes, from `start` (s) on; never padded.

    Mains of `notch` Hz (50 or 60) are filtered out. ``faults`` and WARNING notes say where the signal of the
    part used is lost or distorted, a note what is lost outside of it. Refused is a recording that is too
    short, or where in the part used a sample is missing, a lead is lost or contradicts the others throughout,
    or more than half of the signal is lost.
    """
    source = recording.source or Path(recording.name)
    stated = set(warnings(recording.faults))  # of the whole recording
    notes = [note for note in recording.notes if note not in stated]
    rate, given = recording.sampling_rate, len(recording.signal) / recording.sampling_rate
    needed = samples / sampling_rate
    used = _part(source, len(recording.signal), rate, start, needed)
    near, before = neighborhood(len(recording.signal), rate, sampling_rate, used)
    signals = hold(recording.signal[near])
    if notch is not None:
        signals = remove_mains(signals, rate, notch)
        notes.append(f"{notch} Hz were filtered out with --notch {notch}.")
    inside = slice(used.start - near.start, used.stop - near.start)
    judged = np.where(is_missing(recording.signal[used]), np.nan, signals[inside])
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
    length = math.ceil(len(recording.signal) * ratio(rate, sampling_rate))
    if length - first < samples:
        after = f" after {start:g} s" if start else ""
        raise DataError(
            f"{source}: {needed:g} s are needed ({samples} samples at {sampling_rate:g} Hz), but "
            f"the recording has {(length - first) / sampling_rate:.6g} s{after}; it is not padded: "
            f"record {needed:g} s or more"
        )
    if length > samples:
        notes.append(
            f"{given:.6g} s were given, the {needed:g} s from {first / sampling_rate:g} s on were used; "
            "choose others with --start."
        )
    # Not of what was resampled: the filter lets the neighborhood of a lost stretch leak into it.
    faults = find_faults(judged, rate, used.start / rate, leads=recording.leads)
    outside = _lost_outside(recording, used)
    check_used(recording, faults, outside, used)
    signals = np.ascontiguousarray(signals[first - before :][:samples], dtype=np.float32)
    _remove_offsets(signals, sampling_rate, recording.leads, faults, used.start / rate, notes)
    note_beats(signals, sampling_rate, faults, notes, rate)
    notes += warnings(faults) + [f"Outside the part used: {sentence}" for sentence in describe(outside)]
    return replace(
        recording,
        signal=signals,
        sampling_rate=float(sampling_rate),
        notes=notes,
        faults=faults,
        start=recording.start + first / sampling_rate,
    )

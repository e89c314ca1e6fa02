"""What is said of the quality of a recording: refusals, warnings and suspicions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from databases.base import Fault, Recording
from preprocessing.recordings.electrodes import EXCHANGES, RATE, find_beats, suspected_exchange
from preprocessing.recordings.lost import LOST
from preprocessing.recordings.quality import KINDS
from preprocessing.recordings.time_scale import doubtful_rate
from preprocessing.transforms.resample import resample
from utils.ecg import LEADS, display_name
from utils.errors import DataError

_GRAVE = (*LOST, "contradiction")
_HIDES_EXCHANGES = {*_GRAVE, "unrelated", "asynchronous", "duplicate", "scale", "mains"}
_HIDES_RATE = {*KINDS} - {"silent", "flat", "padding", "scale", "duplicate", "contradiction", "clip"}
_NOT_LOOKED_FOR = "Exchanged electrodes were not looked for, because leads are disturbed."
_LOST_BY_RIGHT_LEG = {"II": "RA/RL", "III": "LA/RL"}  # leads that an arm on the right leg's electrode loses
_THROUGHOUT, _MOST_LOST = 0.95, 0.5
_MOST_ALONE = 6  # of the eight independent leads
_STRETCHES = 4  # of one lead that a note lists one by one


def check_used(recording: Recording, faults: Sequence[Fault], outside: Sequence[Fault], used: slice) -> None:
    """Raise DataError where the part used leaves nothing to trust.

    That is: a sample is missing, a lead is lost or contradicts the others throughout, or more than half of
    the signal is lost.
    """
    rate = recording.sampling_rate
    start, end = used.start / rate, used.stop / rate
    grave = [fault for fault in faults if fault.kind in _GRAVE]
    lost = [fault for fault in grave if fault.kind in LOST]
    share: Counter[str] = Counter()
    for fault in grave:
        share[fault.lead] += (fault.end - fault.start) / (end - start)
    total = sum(fault.end - fault.start for fault in lost) / (end - start) / len(recording.leads)
    whole = [lead for lead in share if share[lead] > _THROUGHOUT]
    alone = [fault for fault in faults if fault.kind == "unrelated"]
    lonely = {fault.lead for fault in alone if fault.end - fault.start > _THROUGHOUT * (end - start)}
    gaps = [fault for fault in faults if fault.kind == "gap"]
    if gaps:
        reason, shown = "gaps are not filled in", gaps
    elif whole:
        reason, shown = "no lead may be missing", [fault for fault in grave if fault.lead in whole]
        if len(whole) == 1 and whole[0] in _LOST_BY_RIGHT_LEG:
            reason += f" (a suspicion: {EXCHANGES[_LOST_BY_RIGHT_LEG[whole[0]]].text})"
    elif total > _MOST_LOST:
        reason, shown = f"{total:.0%} of the signal is lost", lost
    elif len(lonely) >= _MOST_ALONE:
        reason, shown = "it does not look like an ECG: no lead shows what another one does", alone
    else:
        return
    unfit = [*grave, *(alone if len(lonely) >= _MOST_ALONE else ()), *outside]
    part = _sound_part(recording, unfit, end - start)
    remedy = f"use another part: --start {part:g}" if part is not None else "record again"
    source = recording.source or Path(recording.name)
    raise DataError(
        f"{source}: nothing can be said of the part from {start:g} to {end:g} s, {reason}: "
        f"{' '.join(describe(shown))} Repair it, or {remedy}"
    )


def _sound_part(recording: Recording, lost: Sequence[Fault], seconds: float) -> float | None:
    """Where the first part of that length begins in which no lead is lost."""
    given = len(recording.signal) / recording.sampling_rate
    for first in sorted({0.0, *(float(math.ceil(fault.end)) for fault in lost)}):
        if first + seconds <= given and all(f.end <= first or f.start >= first + seconds for f in lost):
            return first
    return None


def note_beats(
    signals: np.ndarray, rate: float, faults: Sequence[Fault], notes: list[str], read_with: float
) -> None:
    """Warn of electrodes that may be exchanged, and of a doubtful rate of the file, `read_with` (Hz).

    Where leads are disturbed, the beats cannot tell.
    """
    kinds = {fault.kind for fault in faults}
    if signals.shape[1] != len(LEADS):
        notes.append(
            "With other leads than the 12, only lost stretches are looked for: no noise, wander or exchange."
        )
        return
    hidden = kinds & _HIDES_EXCHANGES
    if hidden and kinds & _HIDES_RATE:
        notes.append(_NOT_LOOKED_FOR)
        return
    beats = find_beats(resample(signals, rate, RATE))
    if not kinds & _HIDES_RATE and (doubt := doubtful_rate(beats, read_with)):
        notes.append(
            f"WARNING: {doubt}. Correct it in the file, or give --sampling_rate where the file states none."
        )
    if hidden:
        notes.append(_NOT_LOOKED_FOR)
    elif name := suspected_exchange(beats):
        notes.append(
            f"WARNING: {EXCHANGES[name].text} ({name}). This is a suspicion from the shape "
            "of the beats, which the identities cannot confirm and some hearts share; check it before you "
            "trust the result."
        )


def _place(lead: str) -> int:
    """Place of a lead in a sentence: channels that are none of the twelve come last."""
    return LEADS.index(lead) if lead in LEADS else len(LEADS)


def warnings(faults: Sequence[Fault]) -> list[str]:
    """One note a kind of fault, with leads and seconds."""
    return [f"WARNING: {sentence}" for sentence in describe(faults)]


def describe(faults: Sequence[Fault]) -> list[str]:
    """Say which leads have what, and when; leads and stretches that share a fault are told together."""
    stretches: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for fault in faults:
        stretches.setdefault((fault.kind, fault.lead, fault.detail), []).append((fault.start, fault.end))
    leads: dict[tuple[str, str, tuple[tuple[float, float], ...]], list[str]] = {}
    for (kind, lead, detail), spans in stretches.items():
        leads.setdefault((kind, detail, tuple(spans)), []).append(lead)
    order = list(KINDS)
    sentences = []
    for (kind, detail, times), names in sorted(
        leads.items(), key=lambda item: (order.index(item[0][0]), item[0][2])
    ):
        shown = ", ".join(display_name(lead) for lead in sorted(names, key=_place))
        which = "all leads" if len(names) == len(LEADS) else f"lead{'s' * (len(names) > 1)} {shown}"
        when = [f"{first:g}" if first == last else f"{first:g} to {last:g}" for first, last in times]
        if len(when) > _STRETCHES:
            when = [f"{times[0][0]:g} to {times[-1][1]:g}"]
            detail = f"{detail} ({len(times)} stretches)".strip()
        sentences.append(f"{which}, {', '.join(when)} s: {KINDS[kind]}{' ' * bool(detail)}{detail}.")
    return sentences

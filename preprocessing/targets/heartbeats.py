"""Target sets of heartbeats: AAMI's classes in MIT-BIH, premature beats in CPSC 2020."""

from __future__ import annotations

import logging

import numpy as np

from databases import Database
from preprocessing.targets.beats import AAMI_CLASSES, AAMI_SYMBOLS, classify
from preprocessing.targets.masks import cut_windows, mark_peaks, scaled, thin_out, window_starts
from preprocessing.targets.records import of_records, read_beats, split_patients
from preprocessing.targets.regions import Beats
from preprocessing.targets.registry import IGNORED, TargetOptions, Targets, register_targets

logger = logging.getLogger(__name__)

# ANSI/AAMI EC57 counts escape beats of atrium and node with N; the attribution study does not
EC57_SYMBOLS = {**AAMI_SYMBOLS, **dict.fromkeys("ejn", 0)}
PREMATURE = ("S", "V")  # supraventricular, ventricular


def _beat_classes(database: Database, options: TargetOptions) -> Targets:
    """A window around each beat of the classes N, SVEB, VEB and F of ANSI/AAMI EC57.

    ``before``: seconds of the window before the beat. Paced and unclassifiable beats (Q) have no window.
    """
    records, rate = database.records, options.sampling_rate
    before = round(options.settings["before"] * rate)
    rows, starts, numbers, left_out = [], [], [], 0
    annotated = of_records(database, records.index, lambda name: read_beats(database, name).beats, "beats")
    for row, (beats, source) in enumerate(zip(annotated, records["sampling_rate"], strict=True)):
        kept, classes = classify(beats.symbols.tolist(), EC57_SYMBOLS)
        known = classes < len(AAMI_CLASSES)
        left_out += len(beats.samples) - int(known.sum())
        starts.append(scaled(beats.samples[kept[known]], source, rate) - before)
        rows.append(np.full(len(starts[-1]), row))
        numbers.append(classes[known])
    if left_out:
        logger.info(f"{left_out} beats of {database.name} are of none of the classes and have no window")
    labels = np.eye(len(AAMI_CLASSES), dtype=np.uint8)[np.concatenate(numbers)]
    return Targets(np.concatenate(rows), labels, list(AAMI_CLASSES), starts=np.concatenate(starts))


def _beats_along_time(database: Database, options: TargetOptions) -> Targets:
    """Class of each beat within `tolerance` seconds of it, ignored elsewhere, int8 (N, T).

    Windows follow each other, so that a network sees beats in their rhythm. Beats of Q are ignored.
    """
    records, rate, length = database.records, options.sampling_rate, options.samples
    rows, starts, values = [], [], []
    reach = int(options.settings["tolerance"] * rate)
    annotated = of_records(database, records.index, lambda name: read_beats(database, name).beats, "beats")
    for row, (beats, source) in enumerate(zip(annotated, records["sampling_rate"], strict=True)):
        samples = -int(-database.samples(records.index[row]) * rate // source)
        mask = np.full(samples, IGNORED, np.int8)
        kept, classes = classify(beats.symbols.tolist(), EC57_SYMBOLS)
        places = scaled(beats.samples[kept], source, rate)
        for place, number in zip(places.tolist(), classes.tolist(), strict=True):
            mask[max(0, place - reach) : place + reach + 1] = (
                number if number < len(AAMI_CLASSES) else IGNORED
            )
        first = window_starts(samples, length, length)
        rows.append(np.full(len(first), row))
        starts.append(first)
        values.append(cut_windows(mask, first, length))
    return Targets(
        np.concatenate(rows), np.concatenate(values), list(AAMI_CLASSES), starts=np.concatenate(starts)
    )


def _premature(database: Database, options: TargetOptions) -> Targets:
    """Steps near a premature beat, S and V, (N, T // reduction, 3); the last column is the weight.

    ``tolerance`` in seconds on either side of a beat; ``reduction``, samples of a step.
    """
    records, rate, length = database.records, options.sampling_rate, options.samples
    rows, starts, values, beats = [], [], [], []
    annotated = of_records(database, records.index, lambda name: database.annotations(name).beats, "beats")
    reach = options.settings["tolerance"] * rate
    for row, (record, marks, source) in enumerate(
        zip(records.index, annotated, records["sampling_rate"], strict=True)
    ):
        samples = -int(-database.samples(record) * rate // source)
        first = window_starts(samples, length, length)
        columns = [np.ones(samples, np.int8)]  # weight, 0 behind the end of the record
        for number, kind in enumerate(PREMATURE):
            peaks = scaled(marks.samples[marks.symbols == kind], source, rate)
            columns.insert(number, mark_peaks(peaks, samples, reach))
            beats.append(np.stack([np.full(len(peaks), row), peaks, np.full(len(peaks), number)], axis=1))
        cut = [thin_out(cut_windows(c, first, length, 0), options.settings["reduction"]) for c in columns]
        rows.append(np.full(len(first), row))
        starts.append(first)
        values.append(np.stack(cut, axis=-1))
    all_rows, all_starts, marked = np.concatenate(rows), np.concatenate(starts), np.concatenate(beats)
    present = np.array([[(marks.symbols == kind).any() for kind in PREMATURE] for marks in annotated])
    splits, names = split_patients(records["patient"].to_numpy(), present)
    return Targets(
        all_rows,
        np.concatenate(values).astype(np.float16),
        list(PREMATURE),
        splits[all_rows],
        names,
        all_starts,
        beats=_place(marked, all_rows, length),
    )


def _place(marked: np.ndarray, rows: np.ndarray, length: int) -> Beats:
    """Beats (row, sample, class) as beats of windows of one length that follow each other."""
    first_window = np.searchsorted(rows, marked[:, 0])
    return Beats(first_window + marked[:, 1] // length, marked[:, 1] % length, marked[:, 2])


register_targets(
    "beat_classification",
    kind="multiclass",
    build=_beat_classes,
    databases=("mitdb",),
    sampling_rate=360,
    seconds=2,
    windows=True,
    options={"before": 0.8},
)
register_targets(
    "beats",
    kind="segmentation",
    build=_beats_along_time,
    databases=("mitdb",),
    sampling_rate=100,
    seconds=30,
    windows=True,
    options={"tolerance": 0.0},
)
register_targets(
    "premature_beats",
    kind="tagging",
    build=_premature,
    databases=("cpsc2020",),
    sampling_rate=400,
    seconds=10,
    windows=True,
    options={"tolerance": 0.075, "reduction": 8},
)
